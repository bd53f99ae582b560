# SPDX-License-Identifier: Apache-2.0
"""A network licence server: one upstream that serves clients by itself, without twins and TMR-Ids."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from tmr.api.deployment import NETWORK
from tmr.api.status import Role, Status, UpstreamStatus
from tmr.http.metrics import Metrics
from tmr.ledger import ContainersStated, StateContainers, Trust
from tmr.licensing import BadBorrowSignature, Serial, check_share, seal_borrow_file
from tmr.licensing.spelling import instant, instant_or_none
from tmr.net.problem import ProblemError
from tmr.quorum.outputs import Applied, NotActive, Overloaded
from tmr.rpc.record_messages import Answer, Question
from tmr.rpc.upstream_client import LinkError
from tmr.runtime.background import Background
from tmr.runtime.logs import fields
from tmr.service.certificate_ends import certificate_ends
from tmr.service.container_alarms import container_alarms
from tmr.service.container_view import ContainerView
from tmr.service.guard import RequestGuard
from tmr.service.health import HealthFacts, alarms, health
from tmr.service.licence_service import LicenceService
from tmr.service.problems import problem
from tmr.service.tracking import RecordSource, Tracking
from tmr.standalone.local_command_log import LocalCommandLog, ObservedLedger
from tmr.upstream.acceptor_runner import AcceptorRunner, RunnerFailed
from tmr.upstream.borrowings import Borrowings
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.recorder import Recorder
from tmr.upstream.status import version

log = logging.getLogger(__name__)

NOBODY: Final = b""
"""No container's key: what a name stated that this server does not have any more is forgotten."""
TURN: Final = 0.1
"""Seconds between looks at what is due by time."""


class NetworkServer:
    """`clock`: CLOCK_BOOTTIME in seconds. `fatal` ends the process: its state cannot be trusted."""

    def __init__(
        self,
        name: str,
        runner: AcceptorRunner,
        container_store: ContainerStore,
        ledger: ObservedLedger,
        recorder: Recorder,
        *,
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
        fatal: Callable[[BaseException], None],
    ) -> None:
        self.name = name
        self.command_log = LocalCommandLog(
            name, runner, ledger, clock=clock, wall_ms=wall_ms, observe=self._applied
        )
        container = container_store.container
        self.view = ContainerView(ledger, container.act_id, Serial.parse(container.serial))
        self.guard = RequestGuard(self.command_log, self.view, (), wall_ms)
        self.licence_service = LicenceService(self.guard, self._borrow_file, fatal=fatal)
        self.metrics = Metrics()
        self.recorder = recorder
        self.tracking = Tracking(
            self.guard, [RecordSource(name, self._source)], NETWORK.majority, self._last_applied
        )
        self._runner = runner
        self._container_store = container_store
        self._borrowings = Borrowings(runner, container_store, ledger)
        self._rejected: tuple[str, ...] = ()
        self._version = version()
        self._turns = Background(fatal)

    # -- life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Recover what was stored, and serve. Raises Unexpected, NodeFailed."""
        await self.command_log.start()
        await self.merge()
        self.metrics.failovers.inc()
        self.licence_service.begin_term(self.command_log.clock())
        self.recorder.start()
        self._turns.start(self._turn())

    async def merge(self) -> None:
        """Bring what the own container holds into the ledger: at the start, and after each update."""
        signed, ledger = self._container_store.statement, self.command_log.ledger
        try:
            for former in [name for name in ledger.statements if name != self.name]:
                await self.command_log.submit(Trust(former, NOBODY))  # this server was renamed
            if ledger.trusted.get(self.name, signed.key) != signed.key:
                await self.command_log.submit(Trust(self.name, signed.key))  # and had this name before
            outcome = await self.command_log.submit(StateContainers((signed,)))
        except (NotActive, Overloaded) as error:
            log.error("the container is merged at the next start", extra=fields(error=repr(error)))
            return
        assert isinstance(outcome, ContainersStated)  # noqa: S101
        self._rejected = outcome.rejected
        log.info(
            "container merged", extra=fields(changed=len(outcome.changed), rejected=list(outcome.rejected))
        )

    def begin_stop(self) -> None:
        """Take no more requests; what is under way is answered still."""
        if self.command_log.holds:
            self.licence_service.service.write_refusals(self.command_log.clock(), at_once=True)
        self.guard.leaving = "it is being stopped"

    async def stop(self) -> None:
        """Carry out what was submitted; the node is stopped afterwards."""
        self.begin_stop()
        await self._turns.stop()
        await self.recorder.stop()
        await self.command_log.stop()

    async def _turn(self) -> None:
        while True:
            if self.command_log.holds:
                self.licence_service.turn(self.command_log.clock())
            await asyncio.sleep(TURN)

    def _applied(self, now: float, applied: Applied) -> None:
        self.metrics.applied(applied.outcome)
        self.licence_service.applied(now, applied)

    # -- the record ----------------------------------------------------------------------------------------

    async def _source(self, question: Question) -> Answer:
        try:
            return await self.recorder.answer(question)
        except RunnerFailed:
            raise LinkError(self.name, "its store failed") from None

    def _last_applied(self) -> tuple[int, int]:
        acceptor = self._runner.acceptor
        return acceptor.applied, acceptor.log.time_at(acceptor.applied)

    # -- borrow files --------------------------------------------------------------------------------------

    async def _borrow_file(self, borrowing: str) -> bytes:
        """The file of a borrowing: the own container alone signs it. Raises ProblemError."""
        try:
            share = await self._borrowings.share(borrowing, None)
            await asyncio.to_thread(check_share, share)
            return await asyncio.to_thread(seal_borrow_file, [share])
        except ProblemError as error:
            detail, remedy = str(error), error.problem.remedy
        except BadBorrowSignature as error:
            detail, remedy = f"{error.reason}.", f"{error.remedy}."
        raise problem("borrow-not-signed", detail, remedy=remedy)

    # -- views ---------------------------------------------------------------------------------------------

    def _facts(self) -> HealthFacts:
        """Facts from which its health follows."""
        acceptor, time_ms = self._runner.acceptor, self.command_log.certified_ms()
        upstreams = self.command_log.upstreams()
        (own,) = upstreams
        me = UpstreamStatus(
            name=self.name,
            reachable=True,
            voting=True,
            container=self._container_store.container.serial,
            match=acceptor.log.last,
            commit=acceptor.commit,
            lag=acceptor.log.last - acceptor.commit,
            last_error=None,
            since=instant(own.since_ms or time_ms),
            clock_synchronised=self._runner.clock_synchronised,
        )
        licences = tuple(self.view.statuses(upstreams, time_ms))
        return HealthFacts(self.name, self.command_log.holds, (me,), licences, tuple(self._alarms()))

    def status(self) -> Status:
        """This server, for clients and operators."""
        facts, time_ms = self._facts(), self.command_log.certified_ms()
        condition = health(facts)
        return Status(
            name=self.name,
            role=Role.ACTIVE if self.command_log.holds else Role.PASSIVE,
            epoch=self.command_log.epoch,
            lease_remaining_ms=None,
            vip=(),
            version=self._version,
            certified_time=instant(time_ms),
            time_in_doubt=instant_or_none(self.command_log.time_waits),
            upstreams=facts.upstreams,
            licences=facts.licences,
            sessions=len(self.command_log.ledger.sessions),
            commit=self._runner.acceptor.commit,
            health=condition,
            alarms=alarms(condition),
            deployment=NETWORK.name,
            container=str(self.view.serial),
            act_id=self.view.act_id,
            certificates=certificate_ends(self.name, self._runner.certificates, {}),
        )

    def alarms(self) -> list[str]:
        """Alarms for an operator."""
        return list(alarms(health(self._facts())))

    def _alarms(self) -> list[str]:
        found = [
            *self._runner.alarms(),
            *container_alarms(self.view, self.command_log.ledger, self.command_log.upstreams()),
            *self._rejected,
        ]
        found += self.licence_service.time_doubt.alarms()
        if behind := self.command_log.clock_behind_ms():
            found.append(
                f"the clock of {self.name} is {behind / 1000:.1f} s behind certified time, which never goes "
                "back: correct it, or wait"
            )
        return found
