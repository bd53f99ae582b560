# SPDX-License-Identifier: Apache-2.0
"""An upstream says that its disk fills up while there is room left."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.support.tmr_system import MemoryStore
from tmr.ledger import Ledger
from tmr.quorum.acceptor import Acceptor
from tmr.upstream.acceptor_runner import AcceptorRunner
from tmr.upstream.disk_monitor import MIB, DiskMonitor, free_bytes


def new_node() -> AcceptorRunner:
    store = MemoryStore()
    acceptor = Acceptor(store.load(), Ledger(), 0.0, 1.0)
    return AcceptorRunner(acceptor, store, clock=lambda: 0.0, wall_ms=lambda: 0, fatal=lambda _: None)


def watched(runner: AcceptorRunner, free: Callable[[Path], int], reserve: int = 100) -> DiskMonitor:
    return DiskMonitor(runner, Path("/somewhere"), reserve, free)


def test_short_below_the_reserve_until_there_is_clearly_more() -> None:
    runner, left = new_node(), [0]
    space = watched(runner, lambda _: left[0] * MIB)
    for mib, short in ((100, False), (99, True), (110, True), (124, True), (125, False), (110, False)):
        left[0] = mib
        space.look()
        assert runner.short_of_space is short
        assert runner.acceptor.state(0).short is short, "every answer says so"
        assert runner.alarms() == (
            [f"the disk is nearly full: {mib} MiB are left; make room on the file system of the store"]
            if short
            else []
        )


def test_no_reserve_no_alarm() -> None:
    runner = new_node()
    watched(runner, lambda _: 0, reserve=0).look()
    assert not runner.short_of_space


def test_what_cannot_be_measured_is_no_reason_to_refuse() -> None:
    def broken(_: Path) -> int:
        raise PermissionError(13, "no")

    runner = new_node()
    watched(runner, broken).look()
    assert (runner.short_of_space, runner.free_bytes) == (False, None)


def test_the_real_disk(tmp_path: Path) -> None:
    async def run() -> None:
        runner = new_node()
        space = DiskMonitor(runner, tmp_path, 1)
        space.start()
        assert runner.free_bytes is not None
        assert abs(runner.free_bytes - free_bytes(tmp_path)) < 2**30
        await space.stop()

    asyncio.run(run())
