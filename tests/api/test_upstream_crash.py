# SPDX-License-Identifier: Apache-2.0
"""Acknowledged writes of an upstream survive `kill -9`; a store that cannot be trusted is not served."""

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.pki import System, make_system
from tests.support.upstream_process import UpstreamProcess
from tmr.quorum.entries import Entry, Membership, ProposerId
from tmr.quorum.messages import Acquire, Append, Appended, Bootstrap, Busy, NotVoting, Promise
from tmr.rpc.upstream_client import LinkError
from tmr.upstream.container_store import KEY_FILE
from tmr.upstream.store_schema import FILE

A, B = ProposerId("tmr1", "a"), ProposerId("tmr2", "b")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def upstream(tmp_path: Path, system: System) -> Iterator[UpstreamProcess]:
    made = UpstreamProcess(tmp_path, system, ttl=1.0)
    try:
        yield made
    finally:
        made.close()


def entry(index: int, epoch: int) -> Entry:
    return Entry(index, epoch, 1_000 + index, "term", b"\0" * 200)


async def founded(upstream: UpstreamProcess) -> None:
    link = upstream.link()
    joining = await link.call(Acquire(1, A, 1000))
    assert isinstance(joining, NotVoting)
    await link.call(Bootstrap(A, Membership((joining.state.replica_id, "d2", "d3"))))
    await link.close()


async def term(
    upstream: UpstreamProcess, epoch: int, have: Append | None, begun: asyncio.Event
) -> tuple[int, int]:
    """Win `epoch` and append without end until the process dies; the last acknowledged (index, epoch)."""
    link = upstream.link()
    known = (have.previous_index, have.previous_epoch) if have else (0, 0)
    promise = await link.call(Acquire(epoch, A, 1000))
    assert isinstance(promise, Promise), promise
    at = (promise.state.last_index, promise.state.last_epoch)
    assert at >= known, "what was acknowledged is lost"
    owner = promise.owner
    acknowledged = at
    try:
        while True:
            batch = tuple(entry(at[0] + 1 + n, epoch) for n in range(3))
            reply = await link.call(Append(epoch, owner, 1000, *at, batch, acknowledged[0]))
            assert isinstance(reply, Appended)
            acknowledged = at = (reply.match_index, epoch)
            begun.set()
    except LinkError:
        return acknowledged
    finally:
        await link.close()


def test_what_was_acknowledged_survives_kill_9(upstream: UpstreamProcess) -> None:
    rng = random.Random(7)

    async def run() -> int:
        loop = asyncio.get_running_loop()
        upstream.start()
        await founded(upstream)
        known = (0, 0)
        for epoch in range(1, 6):
            have = Append(epoch, A, 0, *known, (), 0)
            begun = asyncio.Event()
            task = asyncio.create_task(term(upstream, epoch, have, begun))
            await asyncio.wait([task, asyncio.create_task(begun.wait())], return_when="FIRST_COMPLETED")
            await asyncio.sleep(0.2 + rng.random() * 0.4)
            await loop.run_in_executor(None, upstream.kill)
            known = await task
            assert known[1] == epoch
            await loop.run_in_executor(None, upstream.start)
        return known[0]

    assert asyncio.run(run()) > 20
    db = sqlite3.connect(f"file:{upstream.state / FILE}?mode=ro", uri=True)
    upstream.kill()
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_a_restarted_upstream_remembers_that_it_may_have_granted_a_lease(upstream: UpstreamProcess) -> None:
    upstream.ttl = 20.0
    upstream.configure()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        upstream.start()
        await founded(upstream)
        one, two = upstream.link("tmr1"), upstream.link("tmr2")
        assert isinstance(await one.call(Acquire(5, A, 20_000)), Promise)
        await loop.run_in_executor(None, upstream.kill)
        await loop.run_in_executor(None, upstream.start)
        one2, two2 = upstream.link("tmr1"), upstream.link("tmr2")
        busy = await two2.call(Acquire(6, B, 20_000))
        assert isinstance(busy, Busy)
        assert (busy.holder, busy.state.promised) == ("tmr1", 5)
        assert isinstance(await one2.call(Append(5, A, 20_000, 0, 0, (entry(1, 5),), 0)), Appended)
        for link in (one, two, one2, two2):
            await link.close()

    asyncio.run(run())


def test_a_full_disk_ends_the_process_and_loses_nothing_acknowledged(upstream: UpstreamProcess) -> None:
    async def run() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, lambda: upstream.start(file_limit=300_000))
        await founded(upstream)
        acknowledged = await term(upstream, 1, None, asyncio.Event())
        assert await loop.run_in_executor(None, upstream.wait) == 1
        assert "the store failed; ending at once" in upstream.output()
        await loop.run_in_executor(None, upstream.start)
        link = upstream.link()
        promise = await link.call(Acquire(2, A, 1000))
        await link.close()
        assert (promise.state.last_index, promise.state.last_epoch) >= acknowledged
        return acknowledged

    assert asyncio.run(run())[0] > 20


def refused(upstream: UpstreamProcess, status: int = 3) -> str:
    """What it says when it does not start: 3 for its store, which no restart mends, else 2."""
    upstream.spawn()
    assert upstream.wait() == status
    assert "Traceback" not in upstream.output()
    return upstream.output()


def test_a_store_that_cannot_be_trusted_is_not_served(upstream: UpstreamProcess) -> None:
    upstream.start()
    asyncio.run(founded(upstream))
    assert upstream.stop() == 0
    file = upstream.state / FILE
    good = file.read_bytes()

    file.write_bytes(good[: len(good) // 2])
    assert "the store is damaged" in refused(upstream)
    file.write_bytes(b"\0" * len(good))
    assert "the store is damaged" in refused(upstream)
    file.write_bytes(b"")
    assert "the store was lost" in refused(upstream)
    file.write_bytes(good)
    for leftover in upstream.state.glob(f"{FILE}-*"):
        leftover.unlink()
    db = sqlite3.connect(file)
    db.execute("UPDATE meta SET machine = ?", ("f" * 64,))
    db.commit()
    db.close()
    text = refused(upstream)
    assert "belongs to another machine" in text
    assert f"move the whole directory {upstream.state} away" in text
    file.write_bytes(good)
    upstream.configure(act_id="lab-ffffffffffffffff")
    assert "correct act_id" in refused(upstream)
    upstream.configure()
    upstream.start()
    assert upstream.stop() == 0
    (upstream.state / KEY_FILE).unlink()
    assert "cannot be read" in refused(upstream)


def test_an_address_or_a_store_in_use_is_said(upstream: UpstreamProcess, tmp_path: Path) -> None:
    upstream.start()
    (tmp_path / "second").mkdir()
    second = UpstreamProcess(tmp_path / "second", upstream.system)
    second.port = upstream.port
    second.configure()
    told = refused(second, 2)
    assert f"cannot listen on 127.0.0.1 port {upstream.port}: Address already in use; as root, `ss" in told
    second.configure(port=0, state_dir=str(upstream.state))
    assert "another process uses the store" in refused(second, 2)
    assert upstream.stop() == 0
