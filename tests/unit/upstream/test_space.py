"""An upstream says that its disk fills up while there is room left."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.unit.server.local import MemoryStore
from tmr.ledger import Ledger
from tmr.quorum.acceptor import Acceptor
from tmr.upstream.node import Node
from tmr.upstream.space import MIB, Space, free_bytes


def new_node() -> Node:
    store = MemoryStore()
    acceptor = Acceptor(store.load(), Ledger(), 0.0, 1.0)
    return Node(acceptor, store, clock=lambda: 0.0, wall_ms=lambda: 0, fatal=lambda _: None)


def watched(node: Node, free: Callable[[Path], int], reserve: int = 100) -> Space:
    return Space(node, Path("/somewhere"), reserve, free)


def test_short_below_the_reserve_until_there_is_clearly_more() -> None:
    node, left = new_node(), [0]
    space = watched(node, lambda _: left[0] * MIB)
    for mib, short in ((100, False), (99, True), (110, True), (124, True), (125, False), (110, False)):
        left[0] = mib
        space.look()
        assert node.short_of_space is short
        assert node.acceptor.member(0).short is short, "every answer says so"
        assert node.alarms() == (
            [f"the disk is nearly full: {mib} MiB are left; make room on the file system of the store"]
            if short
            else []
        )


def test_no_reserve_no_alarm() -> None:
    node = new_node()
    watched(node, lambda _: 0, reserve=0).look()
    assert not node.short_of_space


def test_what_cannot_be_measured_is_no_reason_to_refuse() -> None:
    def broken(_: Path) -> int:
        raise PermissionError(13, "no")

    node = new_node()
    watched(node, broken).look()
    assert (node.short_of_space, node.free_bytes) == (False, None)


def test_the_real_disk(tmp_path: Path) -> None:
    async def run() -> None:
        node = new_node()
        space = Space(node, tmp_path, 1)
        space.start()
        assert node.free_bytes is not None
        assert abs(node.free_bytes - free_bytes(tmp_path)) < 2**30
        await space.stop()

    asyncio.run(run())
