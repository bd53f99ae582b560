# SPDX-License-Identifier: Apache-2.0
"""The TMR agent: twin, ledger, virtual address, sessions and containers put together."""

import asyncio
import importlib.metadata
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from tmr.api.status import Role, Status
from tmr.http.metrics import Metrics
from tmr.ledger import Ledger
from tmr.ledger.export import ATTESTERS
from tmr.licensing.redundancy import MAJORITY
from tmr.licensing.spelling import instant, instant_or_none
from tmr.net.certificate_expiry import CertificateState
from tmr.quorum.entries import ProposerId
from tmr.quorum.lease import Timing
from tmr.quorum.messages import Report, encode
from tmr.quorum.outputs import Applied, Output, RoleChanged, Serving
from tmr.quorum.proposer import Proposer
from tmr.quorum.read_index import ReadIndex
from tmr.quorum.readiness import hindrance
from tmr.rpc.record_messages import Answer, Question
from tmr.rpc.upstream_client import LinkError
from tmr.runtime import systemd
from tmr.runtime.background import Background
from tmr.runtime.logs import fields
from tmr.service.container_alarms import container_alarms
from tmr.service.container_view import ContainerView
from tmr.service.guard import RequestGuard
from tmr.service.health import HealthFacts, alarms, health
from tmr.service.licence_service import LicenceService
from tmr.service.problems import problem
from tmr.service.tracking import RecordSource, Tracking
from tmr.twin.accept_loss import describe, units_lost
from tmr.twin.anchor_file import AnchorDocument, AnchorFile, AnchorWriter
from tmr.twin.borrow_files import borrow_file
from tmr.twin.certificate_alarms import twin_certificate_alarms, twin_certificate_ends
from tmr.twin.clock_alarms import clock_alarms, fast_clock_alarms, synchronisation_alarms
from tmr.twin.config import ServerConfig
from tmr.twin.container_sync import ContainerSync
from tmr.twin.front_comparison import NOTHING, UNABLE, FrontComparison
from tmr.twin.ledger_alarms import ledger_alarms
from tmr.twin.record_sync import RecordSync
from tmr.twin.replicator import Link, Replicator
from tmr.twin.trust import Truster
from tmr.twin.twin_alarms import damage_alarms, lease_alarms, pause_alarms, rollback_alarms
from tmr.twin.twin_reports import OtherTwin, TwinReports
from tmr.twin.upstream_states import other_holder, upstream_status
from tmr.twin.vip_client import VipLink

log = logging.getLogger(__name__)

DRAIN: Final = 0.25
"""Part of the TTL that commands under way have before a planned switchover."""


class TwinApp:
    """Twin. `clock`: CLOCK_BOOTTIME in seconds. `fatal` ends the process: its state cannot be trusted."""

    def __init__(
        self,
        config: ServerConfig,
        links: Sequence[Link],
        *,
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
        fatal: Callable[[BaseException], None],
    ) -> None:
        self.config = config
        ledger = Ledger()
        self._anchor_file = AnchorFile(Path(config.state_dir))
        self._anchored = self._anchor_file.read()
        twin = Proposer(
            owner=ProposerId(config.name, secrets.token_hex(8)),
            rank=config.rank,
            names=(config.upstreams[0].name, config.upstreams[1].name, config.upstreams[2].name),
            machine=ledger,
            timing=Timing(ttl=config.lease_ttl),
            now=clock(),
            jitter=random.random,
            anchor=self._anchored.anchor if self._anchored else None,
            newer_than=self._used_up(),
        )
        self._anchors = AnchorWriter(self._anchor_file, self._to_keep, twin.anchor)
        twin.eligible = False
        self.replicator = Replicator(
            twin,
            ledger,
            links,
            clock=clock,
            wall_ms=wall_ms,
            observe=self._observe,
            turn=self._turn,
            fatal=fatal,
        )
        self.view = ContainerView(ledger, config.act_id)
        self.guard = RequestGuard(self.replicator, self.view, config.vip, wall_ms)
        self.guard.nobody = self._nobody
        self.licence_service = LicenceService(self.guard, self._borrow_file, fatal=fatal)
        archives = [RecordSource(upstream, self._source(slot)) for slot, upstream in enumerate(twin.names)]
        self.tracking = Tracking(
            self.guard, archives, ATTESTERS, lambda: (twin.applied, twin.log.time_at(twin.applied))
        )
        self.metrics = Metrics()
        self.certificates = CertificateState()
        self.truster = Truster(self.guard, dict(zip(twin.names, links, strict=True)), config.act_id)
        self._container_sync = ContainerSync(self.replicator, config.act_id, fatal)
        self.record_sync = RecordSync(self.replicator, fatal)
        self._vip = VipLink(
            config.vip_socket,
            ttl=config.lease_ttl,
            clock=clock,
            on_change=self._vip_changed,
            on_lost=self._vip_lost,
        )
        self._front = FrontComparison()
        self._reports = TwinReports(links, clock, self._report, fatal)
        self._vip_task = Background(fatal)
        self._leaving: asyncio.Task[None] | None = None
        self._stopping = False
        self._served_epoch = 0
        self._version = importlib.metadata.version("tmr")

    # -- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Follow the upstreams, reach for tmr-vip, and stand for election. Call in the event loop."""
        self._vip_task.start(self._vip.run())
        self._reports.start()
        self.replicator.start()

    async def known(self, patience: float) -> None:
        """Wait until a majority of upstreams has answered, for at most `patience` seconds."""
        end = self.replicator.clock() + patience
        while self.replicator.clock() < end:
            if sum(peer.state is not None for peer in self.replicator.twin.replicas) >= MAJORITY:
                return
            await asyncio.sleep(0.02)

    def leave(self, reason: str) -> asyncio.Task[None]:
        """Hand over to the other twin in good order; the task ends when the lease is released."""
        if self._leaving is None or self._leaving.done():
            self._leaving = asyncio.get_running_loop().create_task(self._leave(reason))
        return self._leaving

    async def _leave(self, reason: str) -> None:
        """No more answers, then what is under way, then the address, then the lease: in this order."""
        twin = self.replicator.twin
        epoch = twin.epoch
        if self.replicator.holds and self.guard.denials:
            self.licence_service.service.write_refusals(self.replicator.clock(), at_once=True)
        self.guard.leaving = reason
        try:
            if twin.role == "active":
                log.info("stepping down", extra=fields(reason=reason, pending=self.replicator.pending))
                if self._vip.held and self._vip.able:
                    await self.replicator.queue.drained(DRAIN * self.config.lease_ttl)
                # The other twin takes the address as soon as the lease is given back.
                await self._vip.drop(epoch)
            if twin.epoch == epoch:
                self.replicator.retire(reason)
        finally:
            self.guard.leaving = ""

    def begin_stop(self) -> None:
        """Hand over and never be elected again: the process is about to end."""
        self._stopping = True
        self.replicator.twin.eligible = False
        self.leave("the service is being stopped")

    async def stop(self) -> None:
        """End everything, in good order."""
        self.begin_stop()
        if self._leaving is not None:
            await asyncio.gather(self._leaving, return_exceptions=True)
        await self._reports.stop()
        await self._container_sync.stop()
        await self.record_sync.stop()
        await self.replicator.stop()
        await self._anchors.at_once()
        await self._vip_task.stop()

    def switchover(self) -> str:
        """An operator asks this twin to step down; the name of it.

        Raises ProblemError where it does not serve, and while the other twin could not take over at once: no
        twin would serve then.
        """
        self.guard.check()
        other = self.other_twin()
        if not other.ready:
            raise problem(
                "twin-not-ready", f"{self.config.peer} could not take over at once: {other.reason}."
            )
        return self.config.name

    # -- news ----------------------------------------------------------------------------------------------

    def _observe(self, now: float, output: Output) -> None:
        match output:
            case Applied():
                self.metrics.applied(output.outcome)
                self.licence_service.applied(now, output)
            case Serving():
                self.metrics.failovers.inc()
                self.licence_service.begin_term(now)
                self._container_sync.begin_term()
                self.record_sync.begin_term(now)
                log.info(
                    "serving",
                    extra=fields(epoch=output.epoch, sessions=len(self.licence_service.held.liveness)),
                )
                systemd.status(f"active, epoch {output.epoch}")
            case RoleChanged(role="active"):
                self._served_epoch = output.epoch
                log.info("elected", extra=fields(epoch=output.epoch, reason=output.reason))
            case RoleChanged():
                if self.replicator.twin.paused_at == now:
                    self.metrics.pauses.inc()
                self.licence_service.end_term()
                if self._served_epoch:
                    self._vip.forget(self._served_epoch)
                    log.warning("stepped down", extra=fields(epoch=self._served_epoch, reason=output.reason))
                    self._served_epoch = 0
                    systemd.status(f"passive: {output.reason}")

    def _turn(self, now: float) -> None:
        twin = self.replicator.twin
        self._vip.check(now)
        self._anchors.poke(now)
        if not self.replicator.holds:
            return
        if not self.guard.leaving:
            if self._front.hand_over(now, self._vip.front, self._reports.other().front):
                self.leave("the other twin sees more of the front network")
            self._vip.hold(
                twin.epoch,
                twin.deadline,
                lambda: encode(twin.lease_release()),
                step=self.config.lease_ttl / 20,
                founding=twin.founding,
            )
        self._container_sync.poke(now)
        self.licence_service.turn(now)
        self.record_sync.poke(now)

    def _vip_changed(self, able: bool, reason: str) -> None:
        self.replicator.twin.eligible = able and not self._stopping
        if not able:
            self.leave(reason)

    def _vip_lost(self, reason: str) -> None:
        self.leave(reason)

    def _source(self, slot: int) -> Callable[[Question], Awaitable[Answer]]:
        """Way to ask an upstream about the record."""

        async def ask(question: Question) -> Answer:
            if not self.replicator.twin.replicas[slot].reachable:
                raise LinkError(self.replicator.twin.names[slot], "it does not answer")
            return await self.replicator.links[slot].call(question)

        return ask

    async def _borrow_file(self, borrowing: str) -> bytes:
        """The file of a borrowing, signed by two upstreams. Raises ProblemError."""
        twin = self.replicator.twin
        links = dict(zip(twin.names, self.replicator.links, strict=True))
        return await borrow_file(links, borrowing, lambda: ReadIndex(twin.epoch, twin.owner, twin.applied))

    # -- the other twin ------------------------------------------------------------------------------------

    def _report(self) -> Report:
        """Report of this twin about itself for the other twin."""
        why = self._hindrance()
        return Report(self.replicator.twin.owner, self._vip.front, ready=not why, reason=why)

    def _hindrance(self) -> str:
        """Reason why this twin could not take over at once, for people; empty: it could."""
        if self._stopping:
            return "its server is being stopped"
        if self._vip.front == UNABLE:
            return "it cannot hold the virtual address: see its alarms"
        if self._vip.front == NOTHING:
            return "it hears nobody on the front network"
        return hindrance(self.replicator.twin, self.replicator.clock())

    def other_twin(self) -> OtherTwin:
        """The other twin, as two upstreams heard it: whether it could take over at once, and why not."""
        return self._reports.other()

    # -- views ---------------------------------------------------------------------------------------------

    def role(self) -> Role:
        """A twin that sends only pre-votes still counts as passive."""
        twin = self.replicator.twin
        if twin.role == "active" and twin.serving:
            return Role.ACTIVE
        return Role.CANDIDATE if twin.role in ("active", "candidate") else Role.PASSIVE

    def status(self) -> Status:
        """This twin, as it sees itself and the system."""
        twin, now = self.replicator.twin, self.replicator.clock()
        upstreams, time_ms = self.replicator.upstreams(), self.replicator.certified_ms()
        seen = [peer.state.promised for peer in twin.replicas if peer.state is not None]
        facts = HealthFacts(
            name=self.config.name,
            serves=twin.holds(now) or other_holder(self.replicator.twin) is not None,
            upstreams=tuple(
                upstream_status(twin, self.view, slot, upstream) for slot, upstream in enumerate(upstreams)
            ),
            licences=tuple(self.view.statuses(upstreams, time_ms)),
            alarms=tuple(self._alarms(now)),
            other=self._reports.take_over(self.config.peer),
        )
        condition = health(facts)
        return Status(
            name=self.config.name,
            role=self.role(),
            epoch=twin.epoch if twin.role == "active" else max(seen, default=0),
            lease_remaining_ms=round((twin.deadline - now) * 1000) if twin.holds(now) else None,
            vip=tuple(self.config.vip),
            peer=other_holder(self.replicator.twin),
            version=self._version,
            certified_time=instant(time_ms) if time_ms else None,
            time_in_doubt=instant_or_none(self.replicator.time_waits),
            upstreams=facts.upstreams,
            licences=facts.licences,
            sessions=len(self.replicator.ledger.sessions),
            commit=twin.commit,
            health=condition,
            alarms=alarms(condition),
            container=str(self.view.serial),
            act_id=self.view.act_id,
            certificates=twin_certificate_ends(twin, self.certificates),
        )

    def _to_keep(self) -> AnchorDocument | None:
        """Contents of the anchor file now."""
        twin, known = self.replicator.twin, self._anchored
        anchor = twin.confirmed_anchor
        if anchor is not None and (known is None or known.anchor != anchor):
            spent = known.spent if known is not None and twin.anchors.kept else self._spent()
            self._anchored = AnchorDocument(anchor, spent, self._used_up())
        return self._anchored

    def _used_up(self) -> int:
        return self._anchored.used_up if self._anchored else 0

    def _spent(self) -> dict[str, int]:
        return {
            str(counter.key): counter.spent for counter in self.replicator.ledger.counters if counter.spent
        }

    def _objection(self, now: float) -> str:
        """Reason why this twin does not serve with the journal that is shown; empty: it does not object."""
        if (objection := self.replicator.twin.anchors.objection) is None:
            return ""
        known = None if objection.kind in ("founded", "new") else self._anchored
        units = units_lost(known.spent, self._spent()) if known is not None else ""
        since_ms = self.guard.wall_ms() - round((now - objection.since) * 1000)
        return describe(objection, self.replicator.twin.names, since_ms, units)

    def _nobody(self) -> str:
        """Reason why no twin serves, as far as this twin knows; empty: the other twin serves."""
        if other_holder(self.replicator.twin) is not None:
            return ""
        return self._objection(self.replicator.clock()) or "no twin serves now"

    def _alarms(self, now: float) -> list[str]:
        twin = self.replicator.twin
        outdated = [f"this twin is never elected: {twin.outdated}"] if twin.outdated else []
        return [
            *filter(None, (self._objection(now), self._anchor_file.problem)),
            *outdated,
            *container_alarms(self.view, self.replicator.ledger, self.replicator.upstreams()),
            *(
                f"{name}: {peer.alarm}"
                for name, peer in zip(twin.names, twin.replicas, strict=True)
                if peer.alarm
            ),
            *rollback_alarms(twin, now),
            *damage_alarms(twin),
            *lease_alarms(twin),
            *pause_alarms(twin, now),
            *ledger_alarms(twin, now),
            *self.licence_service.time_doubt.alarms(),
            *clock_alarms(twin.certified, twin.steady.read(now) * 1000),
            *fast_clock_alarms(twin.steady, now),
            *synchronisation_alarms(zip(twin.names, twin.replicas, strict=True)),
            *twin_certificate_alarms(twin, self.certificates, self.guard.wall_ms() / 1000),
            *self._container_sync.alarms,
            *self.record_sync.alarms,
            *self._vip.alarms,
        ]
