"""The asyncio rim around the sans-I/O `Twin`: sends what it wants sent, tells it what came back and when.

Everything runs in one event loop, and every call into the twin ends before the next begins: the twin is never
entered concurrently.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from tmr.desk.gate import heard
from tmr.desk.virtual import UpstreamState
from tmr.ledger import Command, Ledger, Outcome, continuity, encode
from tmr.licensing import Share, SignedStatement
from tmr.quorum import objection
from tmr.quorum.messages import Followed, Promise, Release, Reply, Request
from tmr.quorum.proposer import SPARE_PAUSE, Applied, NotActive, Output, Overloaded, RoleChanged, Send, Twin
from tmr.rim import record_wire
from tmr.rim.logs import fields
from tmr.rim.upstream_link import LinkError

log = logging.getLogger(__name__)

COMMIT_PATIENCE: Final = 2.0
"""A command that is not committed after this many TTLs is answered with not-active: outcome unknown."""
RELEASE_PATIENCE: Final = 0.5
"""Seconds that a release of the lease may take before the process ends."""


class Link(Protocol):
    """The way to one upstream."""

    async def call(self, request: Request) -> Reply:
        """Its answer. Raises LinkError."""

    async def container(self) -> SignedStatement:
        """What it states about its container. Raises LinkError."""

    async def share(self, borrow: str) -> Share:
        """Its share of the borrow file for this borrowing. Raises LinkError, LinkRefused."""

    async def record(self, question: record_wire.Question) -> record_wire.Answer:
        """Its answer about the licence tracking record. Raises LinkError."""

    async def close(self) -> None:
        """End all connections."""


class Reach(msgspec.Struct):
    """Whether an upstream answers, since when (wall clock, Unix ms), and what it failed with last."""

    reachable: bool = False
    since_ms: int | None = None
    error: str = ""


class _Pending(msgspec.Struct):
    epoch: int
    body: bytes
    outcome: asyncio.Future[Any]
    since: float


def _fail(pending: _Pending, error: Exception) -> None:
    if not pending.outcome.done():
        pending.outcome.set_exception(error)


class Core:
    """Drives one twin. `clock` is CLOCK_BOOTTIME in seconds, `wall_ms` the wall clock.

    `observe(now, output)` is called for each output but `Send`; `turn(now)` after each input was carried out.
    """

    def __init__(
        self,
        twin: Twin,
        ledger: Ledger,
        links: Sequence[Link],
        *,
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
        observe: Callable[[float, Output], None],
        turn: Callable[[float], None],
        fatal: Callable[[BaseException], None],
    ) -> None:
        self.twin = twin
        self.ledger = ledger
        self.links = links
        self.reach = (Reach(), Reach(), Reach())
        self.clock = clock
        self._wall_ms = wall_ms
        self._observe = observe
        self._turn = turn
        self._fatal = fatal
        self._states: tuple[UpstreamState, ...] | None = None
        self._holds_until: float | None = None
        """What was found of the twin since its last input, or None: nothing else changes it."""
        self._pending: dict[int, _Pending] = {}
        self._submitted: list[_Pending] = []
        """What came in this turn of the event loop."""
        self._exchanges: set[asyncio.Task[None]] = set()
        self._releases: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._running = False
        self._ticked = clock()

    # -- what the server asks ------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of this twin."""
        return self.twin.owner.twin

    @property
    def epoch(self) -> int:
        """The reign that answers are given in."""
        return self.twin.epoch

    def upstreams(self) -> tuple[UpstreamState, ...]:
        """The three as this twin sees them now."""
        if self._states is None:
            self._states = tuple(
                UpstreamState(
                    name,
                    peer.reachable,
                    peer.member is not None and peer.member.voting,
                    reach.since_ms,
                    reach.error,
                    peer.member is not None and peer.member.short,
                )
                for name, peer, reach in zip(self.twin.upstreams, self.twin.peers, self.reach, strict=True)
            )
        return self._states

    @property
    def holds(self) -> bool:
        """This twin may answer a client at this very moment."""
        if self._holds_until is None:
            self._holds_until = self.twin.deadline if self.twin.serving else float("-inf")
        return self.clock() < self._holds_until

    @property
    def pending(self) -> int:
        """Commands that are not committed yet."""
        return len(self._pending) + len(self._submitted)

    @property
    def oldest(self) -> float:
        """Seconds that the first of them has waited; 0: there is none."""
        first = next(itertools.chain(self._pending.values(), self._submitted), None)
        return 0.0 if first is None else self.clock() - first.since

    @property
    def alive(self) -> bool:
        """The event loop turns."""
        return self.clock() - self._ticked < max(1.0, self.twin.timing.ttl)

    def certified_ms(self) -> int:
        """Certified time now, Unix milliseconds; 0 while nothing is known."""
        return self.twin.certified.read(self.clock() * 1000, self.twin.log.last_time)

    def submit(self, command: Command) -> asyncio.Future[Outcome]:
        """Commit and apply the command. Fails with NotActive (outcome unknown) or Overloaded (not done).

        What is submitted in one turn of the event loop goes to the upstreams together.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        outcome.add_done_callback(heard)
        if not self._submitted:
            loop.call_soon(self._flush)
        self._submitted.append(_Pending(0, encode(command), outcome, self.clock()))
        return outcome

    def _flush(self) -> None:
        submitted, self._submitted = self._submitted, []
        now = self.clock()
        try:
            first = self.twin.submit(now, *(one.body for one in submitted))
        except (NotActive, Overloaded) as error:
            for one in submitted:
                _fail(one, type(error)())
            return
        except Exception as error:
            self._fatal(error)
            return
        for index, one in enumerate(submitted, first):
            one.epoch = self.twin.epoch
            self._pending[index] = one
        self._carry_out(now)

    async def drained(self, patience: float) -> bool:
        """Wait for the commands under way, for at most `patience` seconds; True if none is left."""
        waiting = [one.outcome for one in (*self._pending.values(), *self._submitted)]
        if not waiting:
            return True
        _, left = await asyncio.wait(waiting, timeout=patience)
        return not left

    # -- inputs of the twin --------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to follow and to tick. Call in the event loop."""
        self._running = True
        self._guarded_tick()

    def retire(self, reason: str) -> None:
        """Give the reign back, if there is one."""
        now = self.clock()
        self.twin.retire(now, reason)
        self._carry_out(now)

    async def stop(self) -> None:
        """End all traffic; a release that is under way may arrive first."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        if self._releases:
            await asyncio.wait(self._releases, timeout=RELEASE_PATIENCE)
        tasks = [*self._exchanges]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in self.links:
            await link.close()

    def _tick(self) -> None:
        if not self._running:
            return
        now = self._ticked = self.clock()
        self.twin.tick(now)
        self._carry_out(now)
        self._lose_patience(now)
        wait = self.twin.timing.renewal / 8
        if self.twin.role == "active":  # exactly at the deadline too: between two ticks it only moves away
            wait = min(wait, max(0.0005, self.twin.deadline - now))
            if self._pending:  # whoever is late must not be waited for
                wait = min(wait, SPARE_PAUSE)
        self._timer = asyncio.get_running_loop().call_later(wait, self._guarded_tick)

    def _guarded_tick(self) -> None:
        try:
            self._tick()
        except Exception as error:
            self._fatal(error)

    # -- outputs of the twin -------------------------------------------------------------------------------

    def _carry_out(self, now: float) -> None:
        self._states = self._holds_until = None
        for output in self.twin.take():
            if isinstance(output, Send):
                self._send(output)
                continue
            if isinstance(output, RoleChanged) and output.role != "active":
                self._disappoint()
            self._observe(now, output)
            if isinstance(output, Applied):
                self._resolve(output)
        self._turn(now)

    def _resolve(self, applied: Applied) -> None:
        """Answer who waits, unless another reign's entry took the index of the command."""
        pending = self._pending.pop(applied.index, None)
        if pending is None or pending.outcome.done():
            return
        if applied.entry.epoch == pending.epoch and applied.entry.body == pending.body:
            pending.outcome.set_result(applied.outcome)
        else:
            _fail(pending, NotActive())

    def _disappoint(self) -> None:
        pending, self._pending = self._pending, {}
        for one in pending.values():
            _fail(one, NotActive())

    def _lose_patience(self, now: float) -> None:
        for one in self._pending.values():
            if now - one.since < COMMIT_PATIENCE * self.twin.timing.ttl:
                break
            _fail(one, NotActive())

    def _send(self, send: Send) -> None:
        if not self._running and not isinstance(send.request, Release):
            return
        task = asyncio.get_running_loop().create_task(self._exchange(send))
        kept = self._releases if isinstance(send.request, Release) else self._exchanges
        kept.add(task)
        task.add_done_callback(kept.discard)

    async def _exchange(self, send: Send) -> None:
        reply: Reply | None = None
        try:
            reply = await self.links[send.slot].call(send.request)
        except LinkError as error:
            self.reach[send.slot].error = error.reason
        if reply is not None and (why := self._objection(send.request, reply)):
            self.reach[send.slot].error = f"its answer does not hold together: {why}"
            reply = None
        now = self.clock()
        try:
            if reply is None:
                self.twin.failed(send.slot, send.at, send.request)
            else:
                self.twin.receive(now, send.slot, send.at, send.request, reply)
            self._after(send.slot, now)
        except Exception as error:
            self._fatal(error)

    def _objection(self, request: Request, reply: Reply) -> str:
        """An upstream that answers what none of them can is not there: it must not end this twin."""
        if why := objection.to_answer(request, reply, self._wall_ms()):
            return why
        if isinstance(reply, Promise | Followed) and reply.snapshot is not None and reply.snapshot.state:
            found = continuity.read(reply.snapshot.state)
            return found if isinstance(found, str) else ""
        return ""

    def _after(self, slot: int, now: float) -> None:
        reach, reachable = self.reach[slot], self.twin.peers[slot].reachable
        if reach.reachable != reachable or reach.since_ms is None:
            reach.reachable, reach.since_ms = reachable, self._wall_ms()
            name = self.twin.upstreams[slot]
            if reachable:
                reach.error = ""
                log.info("upstream answers", extra=fields(upstream=name))
            else:
                log.warning("upstream does not answer", extra=fields(upstream=name, error=reach.error))
        self._carry_out(now)
