# SPDX-License-Identifier: Apache-2.0
"""Asyncio runtime of the acceptor: messages in, durable answers out.

The acceptor decides at once, in memory. Its writes join the batch that is being filled; one batch at a time
is made durable, and an answer leaves once everything decided before it is on disk. So a duplicate of a
message under way cannot be acknowledged before the message itself.

Small batches are written in the event loop itself while the disk is quick: to hand one to the writer thread
and to hear of its end takes as long as a sync. All else, and all on a slow disk, is the writer thread's.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from tmr.net.certificate_expiry import CertificateState
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import (
    AckedPositionsWrite,
    Answer,
    AppendWrite,
    CommitWrite,
    Hint,
    RecordWrite,
    SnapshotWrite,
    Write,
)
from tmr.quorum.entries import ProposerId
from tmr.quorum.messages import CertificateReport, Reply, Request, RequestRefused, Subscribe
from tmr.quorum.read_index import Obstacle, ReadIndex, obstacle
from tmr.rpc.registry import SUBSCRIBE_WAIT
from tmr.runtime.logs import fields
from tmr.upstream.acceptor_alarms import ROLLED_BACK, acceptor_alarms
from tmr.upstream.store import Store

T = TypeVar("T")

log = logging.getLogger(__name__)

SLOW_SYNC: Final = 0.5
"""Seconds: a transaction that takes longer raises an alarm."""
QUICK: Final = 0.003
"""Seconds that transactions take on average, at most, while they are carried out in the event loop."""
SMALL: Final = 1_000
"""Entries, lines of the record and other writes in a transaction that may be carried out there."""
UNSYNCHRONISED: Final = (
    "the clock of this machine is not synchronised with a time source: run `chronyc tracking`, and see "
    "`systemctl status chrony`; where there is to be none, set clock_sync = false in upstream.toml"
)
ALARM_SECONDS: Final = 600.0
"""Seconds for which a slow transaction stays an alarm."""


class RunnerFailed(Exception):
    """The store failed: memory is ahead of the disk, and the process is about to end."""


class Syncs(msgspec.Struct):
    """Durations of the store's transactions, in seconds."""

    count: int = 0
    last: float = 0.0
    longest: float = 0.0
    slow: int = 0
    slow_at: float = float("-inf")
    average: float = 1.0
    """Smoothed; at first so slow that it has to be earned."""


class _Batch:
    def __init__(self, done: asyncio.Future[None]) -> None:
        self.writes: list[Write] = []
        self.urgent = False
        self.done = done


class AcceptorRunner:
    """One upstream in one event loop. `fatal` is called once, when memory and disk can no longer agree.

    `synchronised`: whether a time source keeps the wall clock.
    """

    def __init__(
        self,
        acceptor: Acceptor,
        store: Store,
        *,
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
        fatal: Callable[[BaseException], None],
        on_sync: Callable[[float, int], None] = lambda _seconds, _writes: None,
        synchronised: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self.acceptor = acceptor
        self.syncs = Syncs()
        self.free_bytes: int | None = None
        """Bytes left on the disk; None: not known."""
        self.certificates = CertificateState()
        self._store = store
        self._clock = clock
        self._wall_ms = wall_ms
        self._synchronised = synchronised
        self._fatal = fatal
        self._on_sync = on_sync
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._given = self._finished = 0
        """Pieces of work that the writer thread was given, and that it finished: it alone counts those."""
        self._filling: _Batch | None = None
        self._running: _Batch | None = None
        self._hints: list[Write] = list(acceptor.regenerated)
        self._committer: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._turns: dict[ProposerId, int] = {}
        """Newest poll of each run of a twin that waits here."""
        self._stopping = False
        self._failed = False
        self._told = ""

    async def call(self, message: Request) -> Reply:
        """The answer to `message`, once it may leave. Raises NodeFailed."""
        if isinstance(message, Subscribe):
            return await self._follow(message)
        answer = self._decide(message)
        self._tell(message.owner.name, answer.reply)
        await self._settled(answer.writes)
        if answer.woke:
            self._wake()
        return answer.reply

    @property
    def failed(self) -> bool:
        """The store failed: nothing is answered any more."""
        return self._failed

    async def settled(self) -> None:
        """Wait until everything decided so far is on disk. Raises NodeFailed."""
        await self._settled([])

    async def in_writer(self, work: Callable[[], T]) -> T:
        """Run `work` in the writer thread, in order with the batches."""

        def counted() -> T:
            try:
                return work()
            finally:
                self._finished += 1

        self._given += 1
        return await asyncio.get_running_loop().run_in_executor(self._writer, counted)

    def obstacle(self, asked: ReadIndex) -> Obstacle | None:
        """Reason that keeps this upstream from a statement about its ledger now, or None."""
        return obstacle(self.acceptor, self._clock(), asked)

    def new_generation(self, generation: int) -> None:
        """The container changed: every answer from now on says so."""
        self.acceptor.generation = generation

    @property
    def short_of_space(self) -> bool:
        """The disk has little room left; every answer says so."""
        return self.acceptor.short

    @short_of_space.setter
    def short_of_space(self, short: bool) -> None:
        self.acceptor.short = short

    def certificates_checked(self, state: CertificateState) -> None:
        """The certificates in use were looked at: every answer from now on tells of them."""
        self.certificates = state
        ends = state.ends("certificate")
        self.acceptor.certificate = CertificateReport(
            None if ends is None else round(ends * 1000), bool(state.alarms(self._wall_ms() / 1000))
        )

    @property
    def clock_synchronised(self) -> bool | None:
        """A time source keeps the wall clock; None: not known."""
        return self._synchronised()

    def alarms(self) -> list[str]:
        """Alarms for an operator."""
        found = []
        if self.short_of_space:
            left = "" if self.free_bytes is None else f": {self.free_bytes // 2**20} MiB are left"
            found.append(f"the disk is nearly full{left}; make room on the file system of the store")
        if self._clock() - self.syncs.slow_at < ALARM_SECONDS:
            found.append(
                f"the disk is slow: {self.syncs.slow} transactions took longer than {SLOW_SYNC} s, "
                f"the longest {self.syncs.longest:.2f} s"
            )
        if self.acceptor.clock_sync and not self.clock_synchronised:
            found.append(UNSYNCHRONISED)
        found += self.certificates.alarms(self._wall_ms() / 1000)
        return found + acceptor_alarms(self.acceptor)

    def begin_stop(self) -> None:
        """Answer all polls, so that an orderly stop need not wait for them."""
        self._stopping = True
        self._wake()

    async def stop(self) -> None:
        """Write what is still in memory and close the store."""
        self.begin_stop()
        while self._committer is not None and not self._failed:
            await asyncio.wait([self._committer])
        if self._hints and not self._failed:
            await self.in_writer(lambda: self._store.write(list(self._hints)))
            self._hints.clear()
        await self.in_writer(self._store.close)
        self._writer.shutdown()

    # -- deciding ------------------------------------------------------------------------------------------

    def _decide(self, message: Request) -> Answer:
        if self._failed:
            raise RunnerFailed
        before = self.acceptor.rolled_back
        try:
            answer = self.acceptor.handle(self._clock(), self._wall(), message)
        except Exception as error:
            self.fail(error)
            raise RunnerFailed from error
        if self.acceptor.rolled_back and not before:
            log.error("rolled back", extra=fields(alarm=ROLLED_BACK))
        return answer

    def _wall(self) -> int:
        """The wall clock, for an answer that also says whether it is synchronised.

        It counts for that only if it was so before and after it was read: it may be set in between.
        """
        before, wall_ms = self._synchronised(), self._wall_ms()
        self.acceptor.clock_synchronised = before and self._synchronised()
        return wall_ms

    def _tell(self, twin: str, reply: Reply) -> None:
        """Log once what was refused: a flood of the log needs another reason each time."""
        if isinstance(reply, RequestRefused) and reply.reason != self._told:
            self._told = reply.reason
            log.warning("message refused", extra=fields(twin=twin, reason=reply.reason))

    def fail(self, error: BaseException) -> None:
        """Memory and disk can no longer agree: answer nothing more, and say so to `fatal` once."""
        if not self._failed:
            self._failed = True
            self._wake()
            self._fatal(error)

    # -- making durable ------------------------------------------------------------------------------------

    async def _settled(self, writes: list[Write]) -> None:
        """Wait until `writes`, and all that was decided before, are on disk."""
        if writes and all(isinstance(write, Hint) for write in writes):
            # They go along with the next batch. The newest commit index and positions replace older ones.
            newer = tuple({type(write) for write in writes} & {CommitWrite, AckedPositionsWrite})
            self._hints = [*(hint for hint in self._hints if not isinstance(hint, newer)), *writes]
            writes = []
        if writes:
            self._fill(writes)
        batch = self._filling or self._running
        if batch is not None:
            await asyncio.shield(batch.done)
        if self._failed:
            raise RunnerFailed

    async def flush(self) -> None:
        """Wait until all that was decided is on disk, lines of the record too. Raises NodeFailed."""
        if self._hints:
            self._fill([])
        await self._settled([])

    def _fill(self, writes: list[Write]) -> None:
        if self._filling is None:
            self._filling = _Batch(asyncio.get_running_loop().create_future())
        self._filling.writes += [*self._hints, *writes]
        self._hints.clear()
        if self._committer is None:
            self._committer = asyncio.get_running_loop().create_task(self._commit())

    async def _commit(self) -> None:
        while (batch := self._filling) is not None and not self._failed:
            self._running, self._filling = batch, None
            started = self._clock()
            try:
                if self._is_quick(batch.writes):
                    self._store.write(batch.writes)
                else:
                    await self.in_writer(lambda writes=batch.writes: self._store.write(writes))  # type: ignore[misc]
            except Exception as error:
                self.fail(error)
            else:
                self._measure(self._clock() - started, len(batch.writes))
            batch.done.set_result(None)
        self._running, self._committer = None, None
        if self._filling is not None:
            self._filling.done.set_result(None)
            self._filling = None

    def _is_quick(self, writes: Sequence[Write]) -> bool:
        if self._given != self._finished or self.syncs.average > QUICK or sum(map(_weight, writes)) > SMALL:
            return False
        return not any(isinstance(write, SnapshotWrite) for write in writes)

    def _measure(self, seconds: float, writes: int) -> None:
        syncs = self.syncs
        syncs.count += 1
        syncs.last = seconds
        syncs.average += (seconds - syncs.average) / 8
        syncs.longest = max(syncs.longest, seconds)
        if seconds > SLOW_SYNC:
            syncs.slow += 1
            syncs.slow_at = self._clock()
        self._on_sync(seconds, writes)

    # -- following -----------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _follow(self, message: Subscribe) -> Reply:
        """Wait for news, the end of a lease, SUBSCRIBE_WAIT, or a newer poll of the same run of the twin."""
        turn = self._turns[message.owner] = self._turns.get(message.owner, 0) + 1
        self._wake()
        try:
            return await self._news_for(message, turn)
        finally:
            if self._turns.get(message.owner) == turn:
                del self._turns[message.owner]

    async def _news_for(self, message: Subscribe, turn: int) -> Reply:
        end = self._clock() + SUBSCRIBE_WAIT
        while not (self._stopping or self._failed) and self._turns.get(message.owner) == turn:
            now, news = self._clock(), self._news
            reply = self.acceptor.subscribe(now, self._wall(), message)
            if reply is not None:
                await self._settled([])
                return reply
            lease_end = self.acceptor.holder_until if self.acceptor.live_holder(now) else end
            if (wait := min(end, lease_end) - now) <= 0:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await news.wait()
        answer = self._decide(message)
        await self._settled(answer.writes)
        return answer.reply


def _weight(write: Write) -> int:
    match write:
        case AppendWrite(entries):
            return len(entries)
        case RecordWrite(lines):
            return len(lines)
    return 1
