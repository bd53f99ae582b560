# SPDX-License-Identifier: Apache-2.0
"""Brings what the three containers state into the journal: when a term begins, and after every change."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tmr.ledger import ContainersStated, StateContainers, Withdraw, constituents
from tmr.licensing import BadStatement, LicensingError, SignedStatement, fingerprint, open_statement
from tmr.quorum.outputs import NotActive, Overloaded
from tmr.rpc.messages import ReadContainer
from tmr.rpc.upstream_client import LinkError
from tmr.runtime.background import Background
from tmr.runtime.logs import fields
from tmr.twin.replicator import Replicator

log = logging.getLogger(__name__)

PAUSE: Final = 0.2
"""Seconds after which a container is asked for again at the earliest; doubles while nothing comes of it."""
PAUSE_MAX: Final = 10.0


class _Source(msgspec.Struct):
    """`seen`, `replica_id`: generation and replica id in the upstream's last answer.

    `asked`: the generation when its container was asked for.
    """

    seen: int = -1
    replica_id: str = ""
    asked: int = -1
    next_at: float = float("-inf")
    pause: float = PAUSE
    offered: SignedStatement | None = None
    alarm: str = ""


class ContainerSync:
    """`poke` is cheap and may be called after everything that happens; one task at a time works."""

    def __init__(self, replicator: Replicator, act_id: str, fatal: Callable[[BaseException], None]) -> None:
        self._replicator = replicator
        self._act_id = act_id
        self._sources = (_Source(), _Source(), _Source())
        self._background = Background(fatal)
        self._rejected: tuple[str, ...] = ()

    @property
    def alarms(self) -> list[str]:
        """Containers that are not believed."""
        strange = [text for slot in range(3) if (text := self._strange(slot))]
        known = tuple(f"{name}: another container" for name in self._replicator.twin.names)
        rejected = [text for text in self._rejected if not text.startswith(known)]
        return [*(source.alarm for source in self._sources if source.alarm), *strange, *rejected]

    def _strange(self, slot: int) -> str:
        """The container that the upstream shows has another key than the believed container."""
        name, shown = self._replicator.twin.names[slot], self._sources[slot].offered
        trusted = self._replicator.ledger.trusted.get(name)
        if shown is None or trusted is None or shown.key == trusted:
            return ""
        return (
            f"{name} has another container than before, which does not count. If its disk or machine was "
            "replaced, look at `tmr-upstream status` there; if that shows the same fingerprint: "
            f"tmr trust {name} {fingerprint(shown.key)}"
        )

    def _withdrawals(self) -> tuple[Withdraw, ...]:
        """Statements of upstreams whose container is gone, as their answers say."""
        return tuple(constituents.withdrawals(self._replicator.ledger, self._replicator.upstreams()))

    def begin_term(self) -> None:
        """Ask all three anew: what the journal says of them may be old."""
        for source in self._sources:
            source.asked, source.next_at, source.pause, source.offered = -1, float("-inf"), PAUSE, None

    def poke(self, now: float) -> None:
        """Start a round if this twin is active and a container states what the journal does not know."""
        if self._background.running or not self._replicator.holds:
            return
        gone = self._withdrawals()
        due = [slot for slot in range(3) if self._due(slot, now)]
        if due or gone:
            self._background.start(self._round(due, gone))

    async def stop(self) -> None:
        """End the round under way."""
        await self._background.stop()

    def _due(self, slot: int, now: float) -> bool:
        peer, source = self._replicator.twin.replicas[slot], self._sources[slot]
        if not peer.reachable or peer.state is None or peer.foreign:
            return False
        if (
            peer.state.replica_id != source.replica_id
        ):  # a new container may have the generation of the old one
            source.replica_id, source.asked, source.seen = peer.state.replica_id, -1, -1
        if peer.state.generation != source.seen:
            source.seen, source.pause, source.next_at = peer.state.generation, PAUSE, now
        name = self._replicator.twin.names[slot]
        known = self._replicator.ledger.statements.get(name)
        back = name in self._replicator.ledger.withdrawn and (
            peer.state.container == self._replicator.ledger.fingerprints.get(name)
        )
        stale = known is None or known.generation != peer.state.generation or back
        return (stale or source.asked < 0) and now >= source.next_at

    async def _round(self, slots: Sequence[int], gone: Sequence[Withdraw]) -> None:
        for withdraw in gone:
            if not await self._withdrawn(withdraw):
                return
        fetched = await asyncio.gather(*(self._fetch(slot) for slot in slots))
        new = tuple(signed for signed in fetched if signed is not None)
        if not new:
            return
        try:
            outcome = await self._replicator.submit(StateContainers(new))
        except (NotActive, Overloaded):
            for slot in slots:
                self._sources[slot].offered = None
            return
        if isinstance(outcome, ContainersStated):
            self._rejected = outcome.rejected
            changed = ", ".join(map(str, outcome.changed)) or "nothing"
            log.info("containers merged", extra=fields(changed=changed, rejected=list(outcome.rejected)))

    async def _withdrawn(self, withdraw: Withdraw) -> bool:
        """Have it withdrawn by the journal; False: it is not, and comes again."""
        try:
            await self._replicator.submit(withdraw)
        except (NotActive, Overloaded):
            return False
        log.warning(
            "another container answers: what the former one stated is withdrawn",
            extra=fields(upstream=withdraw.upstream, fingerprint=withdraw.container),
        )
        return True

    async def _fetch(self, slot: int) -> SignedStatement | None:
        """The container's statement, if it is news."""
        name, source = self._replicator.twin.names[slot], self._sources[slot]
        asked = source.seen
        source.next_at = self._replicator.clock() + source.pause
        source.pause = min(2 * source.pause, PAUSE_MAX)
        try:
            signed = await self._replicator.links[slot].call(ReadContainer())
            statement = open_statement(signed, signed.key)
        except LinkError as error:
            log.warning("container cannot be read", extra=fields(upstream=name, error=error))
            return None
        except (BadStatement, LicensingError) as error:
            source.alarm = f"{name}: its container is not believed: {error}"
            return None
        source.asked = asked
        source.alarm = self._alarm(name, statement.upstream, statement.act_id)
        known = self._replicator.ledger.statements.get(name)
        ledger = self._replicator.ledger
        back = name in ledger.withdrawn and signed.key == ledger.trusted[name]
        if source.alarm or (not back and (signed == source.offered or known == statement)):
            return None
        source.offered = signed
        return signed

    def _alarm(self, name: str, upstream: str, act_id: str) -> str:
        if upstream != name:
            return f"{name} shows the container of {upstream}: it was copied, or the addresses are mixed up"
        if act_id != self._act_id:
            return f"{name}: its container has the CmActId {act_id}, this system has {self._act_id}"
        return ""
