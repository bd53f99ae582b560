# SPDX-License-Identifier: Apache-2.0
"""Asyncio runtime of the acceptor: the time at which an answer may leave, and news for subscribers."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from tests.support.record import FIRM
from tmr.ledger import DenialCount, Ledger, RecordDenials, decode_line, encode, unbroken
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import Write
from tmr.quorum.entries import Entry, Membership, ProposerId
from tmr.quorum.messages import (
    Acquire,
    Append,
    Appended,
    Bootstrap,
    Bootstrapped,
    Promise,
    Release,
    Released,
    Subscribe,
    Subscribed,
)
from tmr.rpc.registry import SUBSCRIBE_WAIT
from tmr.runtime.clock import boottime, wall_ms
from tmr.upstream.acceptor_runner import AcceptorRunner, RunnerFailed
from tmr.upstream.store import Store

A, B = ProposerId("tmr1", "a"), ProposerId("tmr2", "b")


class GatedStore(Store):
    """The real store, whose next transactions wait until `guard` is opened: a disk that takes its time."""

    guard: threading.Event
    batches: list[int]
    threads: list[bool]
    """For each transaction whether it was carried out in the writer thread."""

    def write(self, writes: Iterable[Write]) -> None:
        writes = list(writes)
        assert self.guard.wait(20)
        super().write(writes)
        self.batches.append(len(writes))
        self.threads.append(threading.current_thread() is not threading.main_thread())


class Rig:
    """A founded upstream with a node around it."""

    def __init__(self, directory: Path, ttl: float) -> None:
        self.directory = directory
        self.failures: list[BaseException] = []
        self.store = GatedStore.open(directory, "m")
        self.store.guard = threading.Event()
        self.store.guard.set()
        self.store.batches, self.store.threads = [], []
        self.runner = AcceptorRunner(
            Acceptor(self.store.load(), Ledger(), boottime(), ttl),
            self.store,
            clock=boottime,
            wall_ms=wall_ms,
            fatal=self.failures.append,
            synchronised=lambda: self.synchronised,
        )
        self.synchronised: bool | None = True

    async def found(self) -> None:
        disk = self.runner.acceptor.replica_id
        assert isinstance(await self.runner.call(Bootstrap(A, Membership((disk, "d2", "d3")))), Bootstrapped)
        self.store.batches.clear()

    def append(self, index: int, commit: int = 0) -> "asyncio.Task[Any]":
        entry = Entry(index, 1, 1_000 + index, "term", b"")
        message = Append(1, A, 60_000, index - 1, 1 if index > 1 else 0, (entry,), commit)
        return asyncio.get_running_loop().create_task(self.runner.call(message))


@asynccontextmanager
async def rig(directory: Path, ttl: float = 60.0) -> AsyncIterator[Rig]:
    made = Rig(directory, ttl)
    await made.found()
    try:
        yield made
    finally:
        made.store.guard.set()
        await made.runner.stop()


def scenario(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A coroutine as a test."""

    @wraps(test)
    def run(*args: Any, **options: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60):
                await test(*args, **options)

        asyncio.run(bounded())

    return run


async def turns(count: int = 20) -> None:
    """Let everything that can run, run."""
    for _ in range(count):
        await asyncio.sleep(0)


def following(owner: ProposerId, holder: str, epoch: int, have: int = 0) -> Subscribe:
    return Subscribe(owner, have, 1 if have else 0, holder, epoch)


@scenario
async def test_no_answer_leaves_before_it_is_on_disk(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        it.store.guard.clear()
        promise = asyncio.create_task(it.runner.call(Acquire(1, A, 60_000)))
        await turns()
        # A duplicate is decided without a write of its own, and still has to wait for the first one's.
        append, duplicate = it.append(1), it.append(1)
        released = asyncio.create_task(it.runner.call(Release(1, B)))
        await turns()
        assert not any(task.done() for task in (promise, append, duplicate, released))
        it.store.guard.set()
        assert isinstance(await promise, Promise)
        assert isinstance(await append, Appended)
        assert isinstance(await duplicate, Appended)
        assert isinstance(await released, Released)


@scenario
async def test_what_waits_goes_into_one_transaction(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        await it.runner.call(Acquire(1, A, 60_000))
        it.store.batches.clear()
        it.store.guard.clear()
        tasks = [it.append(index) for index in range(1, 31)]
        await turns()
        it.store.guard.set()
        replies = await asyncio.gather(*tasks)
        assert [reply.match_index for reply in replies] == list(range(1, 31))
        assert it.store.batches in ([2, 29], [31])  # and the term
        assert [entry.index for entry in it.store.load().entries] == list(range(1, 31))


@scenario
async def test_small_transactions_of_a_quick_disk_stay_in_the_event_loop(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        await it.runner.call(Acquire(1, A, 60_000))
        assert all(it.store.threads), "a disk has to show that it is quick"
        it.runner.syncs.average = 0.0
        it.store.threads.clear()
        assert (await it.append(1)).match_index == 1
        assert it.store.threads == [False]
        # What the writer thread does meanwhile must not be disturbed.
        release = threading.Event()
        busy = asyncio.create_task(it.runner.in_writer(lambda: release.wait(20)))
        await turns()
        other = it.append(2)
        await turns()
        assert not other.done()
        release.set()
        assert (await other).match_index == 2
        assert await busy
        assert it.store.threads == [False, True]
        it.runner.syncs.average = 1.0
        assert (await it.append(3)).match_index == 3
        assert it.store.threads == [False, True, True]


@scenario
async def test_a_commit_index_alone_costs_no_transaction_and_is_not_lost_at_a_stop(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        await it.runner.call(Acquire(1, A, 60_000))
        await it.append(1)
        before = len(it.store.batches)
        await it.runner.call(Append(1, A, 60_000, 1, 1, (), 1))
        assert len(it.store.batches) == before
        assert it.runner.acceptor.commit == 1
    store = Store.open(tmp_path, "m")
    assert store.load().commit == 1
    store.close()


@scenario
async def test_follow_wakes_on_release_grant_and_commit(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        await it.runner.call(Acquire(1, A, 60_000))
        waiting = asyncio.create_task(it.runner.call(following(B, "tmr1", 1)))
        await turns()
        assert not waiting.done()
        await it.append(1)
        await it.runner.call(Append(1, A, 60_000, 1, 1, (), 1))
        reply = await waiting
        assert isinstance(reply, Subscribed)
        assert (reply.holder, [entry.index for entry in reply.entries]) == ("tmr1", [1])
        waiting = asyncio.create_task(it.runner.call(following(B, "tmr1", 1, have=1)))
        await turns()
        await it.runner.call(Release(1, A))
        reply = await waiting
        assert isinstance(reply, Subscribed)
        assert (reply.holder, reply.remaining_ms) == ("", 0)


@scenario
async def test_follow_wakes_when_the_lease_ends(tmp_path: Path) -> None:
    async with rig(tmp_path, ttl=0.5) as it:
        await it.runner.call(Acquire(1, A, 500))
        granted = time.monotonic()
        reply = await it.runner.call(following(B, "tmr1", 1))
        assert isinstance(reply, Subscribed)
        assert reply.holder == ""
        assert time.monotonic() - granted > 0.4


@scenario
async def test_a_newer_poll_ends_the_older_one_and_a_stop_ends_all(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        await it.runner.call(Acquire(1, A, 60_000))
        older = asyncio.create_task(it.runner.call(following(B, "tmr1", 1)))
        await turns()
        newer = asyncio.create_task(it.runner.call(following(B, "tmr1", 1)))
        reply = await older
        assert isinstance(reply, Subscribed)
        assert reply.entries == ()
        await turns()
        assert not newer.done()
        it.runner.begin_stop()
        assert isinstance(await newer, Subscribed)


@scenario
async def test_two_runs_of_one_name_wait_side_by_side(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        await it.runner.call(Acquire(1, A, 60_000))
        runs = [B, ProposerId(B.name, "another run")]
        polls = [asyncio.create_task(it.runner.call(following(run, "tmr1", 1))) for run in runs]
        await turns()
        assert not any(poll.done() for poll in polls)
        it.runner.begin_stop()
        assert {
            reply.owner for reply in await asyncio.gather(*polls) if isinstance(reply, Subscribed)
        } == set(runs)


@scenario
async def test_a_store_that_fails_ends_everything(tmp_path: Path) -> None:
    made = Rig(tmp_path, 60.0)
    await made.found()
    await made.runner.call(Acquire(1, A, 60_000))
    poll = asyncio.create_task(made.runner.call(following(B, "tmr1", 1)))
    await turns()
    await made.runner.in_writer(made.store.close)
    with pytest.raises(RunnerFailed):
        await made.append(1)
    with pytest.raises(RunnerFailed):
        await poll
    with pytest.raises(RunnerFailed):
        await made.runner.call(Release(1, A))
    assert [type(failure) for failure in made.failures] == [sqlite3.ProgrammingError]
    await made.runner.stop()


@scenario
async def test_a_slow_disk_is_an_alarm(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        assert it.runner.alarms() == []
        it.store.guard.clear()
        asyncio.get_running_loop().call_later(0.6, it.store.guard.set)
        await it.runner.call(Acquire(1, A, 60_000))
        assert it.runner.syncs.longest > 0.5
        (alarm,) = it.runner.alarms()
        assert "the disk is slow: 1 transactions" in alarm


def noting(index: int) -> Entry:
    """A command that adds one line to the record."""
    refusal = DenialCount(FIRM, 201, "no-more-licences", "", "alice", "cad-07", "", "", index)
    return Entry(index, 1, 1_000 + index, "command", encode(RecordDenials((refusal,))))


@scenario
async def test_no_line_of_the_record_is_lost_between_two_batches(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        await it.runner.call(Acquire(1, A, 60_000))
        await it.runner.call(Append(1, A, 60_000, 0, 0, tuple(noting(n) for n in range(1, 6)), 0))
        before = len(it.store.batches)
        for commit in range(1, 5):  # one after the other, and none worth a transaction
            await it.runner.call(Append(1, A, 60_000, 5, 1, (), commit))
        assert len(it.store.batches) == before
        await it.runner.flush()
        assert len(it.store.batches) == before + 1
        assert [line.seq for line in it.store.record.read(FIRM, 1, 9)] == [1, 2, 3, 4]
        assert it.store.load().commit == 4
        await it.runner.flush()
        assert len(it.store.batches) == before + 1, "nothing was left to write"
        await it.runner.call(Append(1, A, 60_000, 5, 1, (), 5))
    store = Store.open(tmp_path, "m")
    assert [decode_line(line.line).count for line in store.record.read(FIRM, 1, 9)] == [1, 2, 3, 4, 5]
    store.close()


@scenario
async def test_lines_that_the_record_lacks_are_made_again_from_the_journal(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        await it.runner.call(Acquire(1, A, 60_000))
        await it.runner.call(Append(1, A, 60_000, 0, 0, tuple(noting(n) for n in range(1, 6)), 0))
        await it.runner.call(Append(1, A, 60_000, 5, 1, (), 5))
    store = Store.open(tmp_path, "m")
    with store.transaction():
        store._db.execute("DELETE FROM record WHERE seq > 2")
        store._db.execute("UPDATE record_run SET last = 2")
    store.close()
    async with rig(tmp_path) as it:
        await it.runner.flush()
        made = it.store.record.read(FIRM, 1, 9)
        assert [line.seq for line in made] == [1, 2, 3, 4, 5]
        assert unbroken(made)


@scenario
async def test_a_poll_without_news_is_answered_soon(tmp_path: Path) -> None:
    """A passive twin hears nothing else of an upstream: one without power is missed within about a lease."""
    async with rig(tmp_path) as it:
        first = await it.runner.call(Subscribe(A, 0, 0, "?", 0))
        assert isinstance(first, Subscribed)
        async with asyncio.timeout(20):
            again = await it.runner.call(Subscribe(A, 0, 0, first.holder, first.holder_epoch))
        assert isinstance(again, Subscribed)
        assert again.entries == ()
        assert SUBSCRIBE_WAIT <= 1.0


@scenario
async def test_every_answer_says_whether_a_time_source_keeps_the_clock(tmp_path: Path) -> None:
    async with rig(tmp_path) as upstream:
        runner = upstream.runner

        async def told() -> tuple[bool | None, bool]:
            member = (await runner.call(Release(1, A))).state
            return member.clock_synchronised, member.clock_alarm

        assert await told() == (True, False)
        upstream.synchronised = None
        assert await told() == (None, False) and runner.alarms() == [], "none is demanded"
        runner.acceptor.clock_sync = True
        assert await told() == (None, True)
        upstream.synchronised = False
        assert await told() == (False, True)
        assert [alarm for alarm in runner.alarms() if "clock_sync = false" in alarm]
        upstream.synchronised = True
        assert await told() == (True, False) and runner.alarms() == []


@scenario
async def test_a_clock_that_was_set_while_it_was_read_is_not_synchronised(tmp_path: Path) -> None:
    """The kernel says so from the moment on at which it is set."""
    async with rig(tmp_path) as upstream:
        answers = iter([True, True, True, False, False, None])
        upstream.runner._synchronised = lambda: next(answers)
        found = [(await upstream.runner.call(Release(1, A))).state.clock_synchronised for _ in range(4)]
        assert found == [True, False, False, None]
