# SPDX-License-Identifier: Apache-2.0
"""The journal of a network licence server: a quorum of one, its own disk.

The acceptor, the store and the journal are those of an upstream; the server sends the acceptor the messages
that an active twin would. Commands that come while a batch is being written form the next one. A batch is
first made durable, then committed and applied: what is seen in the ledger has always been on disk before.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

from tmr.api.deployment import NETWORK
from tmr.ledger import BatchOutcome, Command, Ledger, Outcome, each, together
from tmr.quorum.consensus_clock import OwnClock
from tmr.quorum.entries import FIRST, Entry, Kind, Membership, ProposerId, encode_format
from tmr.quorum.messages import Acquire, Append, Appended, Bootstrap, Bootstrapped, Promise, Reply
from tmr.quorum.outputs import Applied, NotActive
from tmr.quorum.replication import BATCH_ENTRIES
from tmr.quorum.steady_clock import SteadyClock
from tmr.service.command_queue import CommandQueue
from tmr.service.container_view import UpstreamState
from tmr.service.guard import fail
from tmr.upstream.acceptor_runner import AcceptorRunner, RunnerFailed

TTL_MS: Final = 1
"""Of the lease, which no other server asks for."""


class Unexpected(Exception):
    """The own journal refused a message: it is not as this server left it."""


class ObservedLedger(Ledger):
    """The ledger of a network licence server. `applied(index, outcome)` is called after each entry."""

    def __init__(self) -> None:
        self.applied: Callable[[int, Outcome | BatchOutcome], None] = _unobserved
        super().__init__(NETWORK)

    def apply(
        self, index: int, time_ms: int, body: bytes, entry_format: int = FIRST
    ) -> Outcome | BatchOutcome:
        """Carry out one committed entry."""
        outcome = super().apply(index, time_ms, body, entry_format)
        self.applied(index, outcome)
        return outcome


def _unobserved(_index: int, _outcome: Outcome | BatchOutcome) -> None:
    pass


class LocalCommandLog:
    """Decides and stores alone; the `CommandLog` of the service. Use in one event loop.

    `clock`: CLOCK_BOOTTIME in seconds, `wall_ms`: the wall clock. `observe(now, applied)` is called for each
    entry that was carried out, before its client hears of it.
    """

    def __init__(
        self,
        name: str,
        runner: AcceptorRunner,
        ledger: ObservedLedger,
        *,
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
        observe: Callable[[float, Applied], None],
    ) -> None:
        self.name = name
        self.ledger: Ledger = ledger
        self.clock = clock
        self.steady = SteadyClock()
        self._wall_ms = wall_ms
        self._observe = observe
        self._runner = runner
        # The disk keeps the journal, whatever the server is called today.
        self._owner = ProposerId(runner.acceptor.replica_id, secrets.token_hex(8))
        self._time = OwnClock()
        self._since_ms = wall_ms()
        self._serving = False
        self._queue = CommandQueue(clock, self._wake)
        self._writer: asyncio.Task[None] | None = None
        ledger.applied = self._applied

    # -- interface of the service --------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Number of starts: each is a term of its own."""
        return self._runner.acceptor.promised

    @property
    def holds(self) -> bool:
        """The store works."""
        return self._serving and not self._runner.failed

    @property
    def pending(self) -> int:
        """Commands that are not committed yet."""
        return self._queue.pending

    @property
    def oldest(self) -> float:
        """Seconds that the first of them has waited; 0: there is none."""
        return self._queue.oldest

    def certified_ms(self) -> int:
        """Certified time now, Unix milliseconds: the own clock, which never runs backwards."""
        return self._time.read(
            self._wall_ms(), self.clock() * 1000, self.last_ms, lambda: self._runner.clock_synchronised
        )

    @property
    def last_ms(self) -> int:
        """Time of the journal's last entry, Unix milliseconds; 0: there is none."""
        return self._runner.acceptor.log.last_time

    @property
    def time_waits(self) -> int | None:
        """Time that the clock shows, if certified time does not follow it; as of its last reading."""
        return self._time.waits

    def accept_time(self, time_ms: int) -> bool:
        """Certified time goes on from what the clock shows, if that waits and is near `time_ms`."""
        return self.holds and self._time.accept(time_ms)

    def clock_behind_ms(self) -> int:
        """By how much the machine's clock was set back, if that is worth an alarm, else 0."""
        self.certified_ms()
        return self._time.behind_ms(self._wall_ms())

    def upstreams(self) -> tuple[UpstreamState, ...]:
        """Itself."""
        acceptor, short = self._runner.acceptor, self._runner.short_of_space
        return (
            UpstreamState(
                self.name,
                True,
                True,
                acceptor.container,
                acceptor.generation,
                since_ms=self._since_ms,
                short=short,
            ),
        )

    def read_mark(self) -> float:
        """The mark of a request that came in just now."""
        return 0.0

    async def confirmed(self, mark: float) -> None:
        """No other server can have decided anything meanwhile."""

    def submit(self, command: Command) -> asyncio.Future[Outcome]:
        """Store and apply the command. Fails with NotActive (outcome unknown) or Overloaded (not done)."""
        if not self.holds:
            refused: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            fail(refused, NotActive())
            return refused
        return self._queue.submit(command)

    def answer(self, decision: asyncio.Future[Outcome]) -> asyncio.Future[Outcome]:
        """Future for a client whose command was submitted: its fate. The own disk decides alone."""
        return self._queue.answer(decision)

    def _wake(self) -> None:
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    # -- life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin a term: what the journal holds is committed and applied. Raises Unexpected, NodeFailed."""
        acceptor = self._runner.acceptor
        if acceptor.log.membership is None:
            founded = await self._runner.call(Bootstrap(self._owner, Membership.of_one(acceptor.replica_id)))
            self._expect(founded, Bootstrapped)
        log = acceptor.log
        acquire = Acquire(acceptor.promised + 1, self._owner, TTL_MS, log.last, log.last_epoch)
        self._expect(await self._runner.call(acquire), Promise)
        await self._append("term", (b"",))
        if log.format < acceptor.newest:
            await self._append("format", (encode_format(acceptor.newest),))
        self._serving = True

    async def stop(self) -> None:
        """Carry out what was submitted, and take nothing more."""
        self._serving = False
        if self._writer is not None:
            await asyncio.wait([self._writer])

    # -- the journal ---------------------------------------------------------------------------------------

    async def _write(self) -> None:
        in_flight, log = self._queue.in_flight, self._runner.acceptor.log
        try:
            while in_flight.waiting:
                submitted = in_flight.take(BATCH_ENTRIES)
                entries = list(together([one.body for one in submitted], log.format))
                in_flight.enter(log.last + 1, self.epoch, entries, submitted)
                await self._append("command", tuple(entry.body for entry in entries))
        except (RunnerFailed, Unexpected) as error:
            self._runner.fail(error)
            in_flight.end_term()
        finally:
            self._writer = None

    async def _append(self, kind: Kind, bodies: tuple[bytes, ...]) -> None:
        """Have entries stored, and once they are durable, committed and applied."""
        log, epoch, time_ms = self._runner.acceptor.log, self.epoch, self.certified_ms()
        previous, previous_epoch = log.last, log.last_epoch
        entries = tuple(
            Entry(index, epoch, time_ms, kind, body, log.format)
            for index, body in enumerate(bodies, previous + 1)
        )
        committed = self._runner.acceptor.commit
        stored = Append(epoch, self._owner, TTL_MS, previous, previous_epoch, entries, committed)
        self._expect(await self._runner.call(stored), Appended)
        last = entries[-1].index
        self._expect(
            await self._runner.call(Append(epoch, self._owner, TTL_MS, last, epoch, (), last)), Appended
        )

    def _applied(self, index: int, outcome: Outcome | BatchOutcome) -> None:
        """Answer the waiting callers. Entries of former terms have none."""
        entry = self._runner.acceptor.log[index]
        self._observe(self.clock(), Applied(index, entry, outcome))
        self._queue.in_flight.applied(index, entry.epoch, entry.body, each(outcome))

    def _expect(self, reply: Reply, kind: type) -> None:
        if not isinstance(reply, kind):
            raise Unexpected(f"the journal answered {reply} where {kind.__name__} was expected")
