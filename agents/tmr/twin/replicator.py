# SPDX-License-Identifier: Apache-2.0
"""Asyncio runtime of the `Proposer`: sends its messages, hands it the answers and the time.

Everything runs in one event loop, and every call into the twin ends before the next begins: the twin is never
entered concurrently.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar, overload

from tmr.api.patience import ANSWER_WITHIN
from tmr.ledger import Command, Ledger, Outcome, continuity, each, together
from tmr.quorum import formats, validation
from tmr.quorum.messages import Promise, Release, Reply, Request, Subscribe, Subscribed
from tmr.quorum.outputs import Applied, NotActive, Output, Overloaded, RoleChanged, Send
from tmr.quorum.proposer import Proposer
from tmr.quorum.replication import LAGGING_PAUSE
from tmr.rpc.messages import Query
from tmr.rpc.upstream_client import LinkError
from tmr.runtime.logs import fields
from tmr.service.command_queue import CommandQueue
from tmr.service.container_view import UpstreamState
from tmr.twin.upstream_states import Reachability, upstream_states

R = TypeVar("R")

log = logging.getLogger(__name__)

COMMIT_PATIENCE: Final = 2.0
"""TTLs that a client waits for a command to be committed, ANSWER_WITHIN at most. Then it is told that the
outcome is not known yet; the command stays on its way."""
RELEASE_PATIENCE: Final = 0.5
"""Seconds that a release of the lease may take before the process ends."""


class Link(Protocol):
    """Connection to an upstream."""

    @overload
    async def call(self, message: Request) -> Reply: ...
    @overload
    async def call(self, message: Query[R]) -> R: ...
    async def call(self, message: Any) -> Any:
        """Its reply. Raises LinkError, LinkRefused."""

    async def close(self) -> None:
        """End all connections."""


class Replicator:
    """Runtime of a twin's proposer. `clock` is CLOCK_BOOTTIME in seconds, `wall_ms` the wall clock.

    `observe(now, output)` is called for each output but `Send`; `turn(now)` after each input was carried out.
    """

    def __init__(
        self,
        twin: Proposer,
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
        self.reach = (Reachability(), Reachability(), Reachability())
        self.steady = twin.steady
        self.clock = clock
        self._wall_ms = wall_ms
        self._observe = observe
        self._turn = turn
        self._fatal = fatal
        self._states: tuple[UpstreamState, ...] | None = None
        self._holds_until: float | None = None
        """Findings about the twin since its last input, or None: nothing else changes them."""
        self.queue = CommandQueue(clock, self._wake, min(COMMIT_PATIENCE * twin.timing.ttl, ANSWER_WITHIN))
        self.in_flight = self.queue.in_flight
        self._reads: deque[tuple[float, asyncio.Future[None]]] = deque()
        """Reads to be confirmed, by their marks, the oldest first."""
        self._round_wanted = False
        self._exchanges: set[asyncio.Task[None]] = set()
        self._releases: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._running = False
        self._ticked = clock()
        self._outdated = ""

    # -- what the server asks ------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of this twin."""
        return self.twin.owner.name

    @property
    def epoch(self) -> int:
        """The term that answers are given in."""
        return self.twin.epoch

    def upstreams(self) -> tuple[UpstreamState, ...]:
        """The three as this twin sees them now."""
        if self._states is None:
            self._states = upstream_states(self.twin, self.reach)
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
        return self.queue.pending

    @property
    def oldest(self) -> float:
        """Seconds that the first of them has waited; 0: there is none."""
        return self.queue.oldest

    @property
    def alive(self) -> bool:
        """The event loop turns."""
        return self.clock() - self._ticked < max(1.0, self.twin.timing.ttl)

    def certified_ms(self) -> int:
        """Certified time now, Unix milliseconds; 0 while nothing is known."""
        return self.twin.certified.read(self.steady.read(self.clock()) * 1000, self.twin.log.last_time)

    @property
    def last_ms(self) -> int:
        """Time of the journal's last entry, Unix milliseconds; 0: there is none."""
        return self.twin.log.last_time

    @property
    def time_waits(self) -> int | None:
        """Time that the clocks show, if certified time does not follow them; as of its last reading."""
        return self.twin.certified.waits

    def accept_time(self, time_ms: int) -> bool:
        """Certified time goes on from what the clocks show, if that waits and is near `time_ms`."""
        return self.holds and self.twin.certified.accept(self.steady.read(self.clock()) * 1000, time_ms)

    def read_mark(self) -> float:
        """The mark of a request that came in just now, for `confirmed`."""
        return self.twin.read_mark(self.clock())

    async def confirmed(self, mark: float) -> None:
        """Wait until a majority has confirmed this term after `mark`. Raises NotActive if the term ends.

        One round of messages confirms all that wait; what was committed after the mark has confirmed it.
        """
        if self.twin.confirmed >= mark:
            return
        if not self.holds:
            raise NotActive
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._reads.append((mark, future))
        if not self._round_wanted:
            self._round_wanted = True
            loop.call_soon(self._round)
        await future

    def _round(self) -> None:
        self._round_wanted = False
        try:
            now = self.clock()
            if self.twin.demand_round(now):
                self._carry_out(now)
        except Exception as error:
            self._fatal(error)

    def _confirm_reads(self) -> None:
        if not self._reads:
            return
        confirmed, active = self.twin.confirmed, self.twin.role == "active"
        waiting = [] if active else [future for _, future in self._reads]
        if not active:
            self._reads.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(NotActive())
        for _ in range(len(self._reads)):  # marks need not be in their order: requests may take long
            mark, future = self._reads.popleft()
            if mark > confirmed:
                self._reads.append((mark, future))
            elif not future.done():
                future.set_result(None)

    def _lose_reads(self, before: float) -> None:
        """Reads with marks before this have waited too long: it is not known whether this term goes on."""
        if not self._reads or min(mark for mark, _ in self._reads) >= before:
            return
        late = [future for mark, future in self._reads if mark < before]
        self._reads = deque((mark, future) for mark, future in self._reads if mark >= before)
        for future in late:
            if not future.done():
                future.set_exception(NotActive())

    def submit(self, command: Command) -> asyncio.Future[Outcome]:
        """Commit and apply the command. The future has its result: see `CommandQueue.submit`.

        Commands that are submitted in one turn of the event loop, and while all upstreams that count are
        busy, share entries of the journal.
        """
        return self.queue.submit(command)

    def answer(self, decision: asyncio.Future[Outcome]) -> asyncio.Future[Outcome]:
        """Future for a client whose command was submitted: see `CommandQueue.answer`."""
        return self.queue.answer(decision)

    def _wake(self) -> None:
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        try:
            self._carry_out(self.clock())
        except Exception as error:
            self._fatal(error)

    def _journal(self, now: float, answered: int | None = None) -> None:
        """Have entries made of what was submitted, unless those would wait: later there will be more."""
        if not self.in_flight.waiting or (self.twin.holds(now) and not self.twin.idle(now, answered)):
            return
        submitted = self.in_flight.take()
        entries = list(together([one.body for one in submitted], self.twin.format))
        try:
            first = self.twin.submit(now, *(entry.body for entry in entries))
        except (NotActive, Overloaded) as error:
            self.in_flight.turn_away(submitted, error)
            return
        self.in_flight.enter(first, self.twin.epoch, entries, submitted)

    # -- inputs of the twin --------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to follow and to tick. Call in the event loop."""
        self._running = True
        self._guarded_tick()

    def retire(self, reason: str) -> None:
        """Give the term back, if there is one."""
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
        self._journal(now)
        self.twin.tick(now)
        self._carry_out(now)
        self.in_flight.lose_patience(now)
        self._lose_reads(now - ANSWER_WITHIN)
        wait = self.twin.renewal / 8
        if self.twin.role == "active":  # exactly at the deadline too: between two ticks it only moves away
            wait = min(wait, max(0.0005, self.twin.deadline - now))
            if self.in_flight:  # whoever is late must not be waited for
                wait = min(wait, LAGGING_PAUSE)
        self._timer = asyncio.get_running_loop().call_later(wait, self._guarded_tick)

    def _guarded_tick(self) -> None:
        try:
            self._tick()
        except Exception as error:
            self._fatal(error)

    # -- outputs of the twin -------------------------------------------------------------------------------

    def _carry_out(self, now: float) -> None:
        self._states = self._holds_until = None
        self._journal(now)
        for output in self.twin.take():
            if isinstance(output, Send):
                self._send(output)
                continue
            if isinstance(output, RoleChanged) and output.role != "active":
                self.in_flight.end_term()
            self._observe(now, output)
            if isinstance(output, Applied):
                entry = output.entry
                self.in_flight.applied(output.index, entry.epoch, entry.body, _outcomes(output))
        self._confirm_reads()
        self._turn(now)

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
            reply = await self.links[send.replica].call(send.request)
        except LinkError as error:
            self.reach[send.replica].error = error.reason
        if reply is not None and (why := self._objection(send.request, reply)):
            self.reach[send.replica].error = f"its answer does not hold together: {why}"
            reply = None
        now = self.clock()
        try:
            if reply is None:
                self.twin.failed(send.replica, send.at, send.request)
            else:
                if not isinstance(send.request, Subscribe):
                    self._journal(now, send.replica)
                self.twin.receive(now, send.replica, send.at, send.request, reply)
            self._after(send.replica, now)
        except Exception as error:
            self._fatal(error)

    def _objection(self, request: Request, reply: Reply) -> str:
        """An upstream with an impossible answer counts as unreachable: it must not end this twin."""
        if why := validation.to_answer(request, reply, self._wall_ms()):
            return why
        if isinstance(reply, Promise | Subscribed) and reply.snapshot is not None and reply.snapshot.state:
            if newer := formats.newer((), reply.snapshot, self.twin.newest):
                return newer
            found = continuity.read(reply.snapshot.state, reply.snapshot.format)
            return found if isinstance(found, str) else ""
        return ""

    def _after(self, slot: int, now: float) -> None:
        if (outdated := self.twin.outdated) != self._outdated:
            self._outdated = outdated
            log.error("this twin is of an older version", extra=fields(alarm=outdated))
        reach, reachable = self.reach[slot], self.twin.replicas[slot].reachable
        if reach.reachable != reachable or reach.since_ms is None:
            reach.reachable, reach.since_ms = reachable, self._wall_ms()
            name = self.twin.names[slot]
            if reachable:
                reach.error = ""
                log.info("upstream answers", extra=fields(upstream=name))
            else:
                log.warning("upstream does not answer", extra=fields(upstream=name, error=reach.error))
        self._carry_out(now)


def _outcomes(applied: Applied) -> tuple[Outcome, ...]:
    """The outcomes of the entry's commands; none: it holds no command."""
    return () if applied.outcome is None else each(applied.outcome)
