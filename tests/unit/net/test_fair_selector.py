# SPDX-License-Identifier: Apache-2.0
"""Turns of sockets: what is ready is handled in fair order, and nothing is lost on the way."""

import asyncio
import contextlib
import random
import selectors
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from tmr.net.fair_selector import FLOW_COST, TURN_COST, FairSelector, Share, run

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
FLOOD, NEIGHBOUR = "flood", "neighbour"


class Sockets:
    """Pairs of sockets of which one end is watched."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.selector = FairSelector()
        stack.callback(self.selector.close)
        self.other = dict[int, socket.socket]()
        self.names = dict[int, str]()
        self.shares = dict[int, Share]()

    def add(self, name: str, cost: float = 1.0, events: int = READ, *, ready: bool = True) -> socket.socket:
        watched, other = socket.socketpair()
        for one in (watched, other):
            self._stack.enter_context(one)
            one.setblocking(False)
        number = watched.fileno()
        self.other[number], self.names[number] = other, name
        if name:
            self.shares[number] = Share((name, ""), cost)
            self.selector.share(number, self.shares[number])
        self.selector.register(watched, events, name)
        if ready:
            other.send(b"x")
        return watched

    def turn(self, *, busy: bool = True) -> Counter[str]:
        """What is handled in one turn: all of it is read."""
        found = Counter[str]()
        for key, _ in self.selector.select(0 if busy else 0.5):
            with contextlib.suppress(BlockingIOError):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj.recv(100):
                    found[str(key.data)] += 1
        return found


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    with contextlib.ExitStack() as stack:
        yield Sockets(stack)


def test_one_turn_handles_a_little_of_each_and_all_of_ones_own(sockets: Sockets) -> None:
    for _ in range(50):
        sockets.add(FLOOD)
    sockets.add(NEIGHBOUR)
    for _ in range(20):
        sockets.add("")
    assert sockets.turn() == {FLOOD: FLOW_COST, NEIGHBOUR: 1, "": 20}
    sockets.add(NEIGHBOUR)
    sockets.add("")
    assert sockets.turn() == {FLOOD: FLOW_COST, NEIGHBOUR: 1, "": 1}
    assert sum((sockets.turn() for _ in range(40)), Counter()) == {FLOOD: 50 - 2 * FLOW_COST}, "each once"
    assert not sockets.turn(busy=False)


def test_many_peers_share_one_turn(sockets: Sockets) -> None:
    for number in range(30):
        sockets.add(f"peer {number}")
    turns = [sockets.turn() for _ in range(4)]
    assert [turn.total() for turn in turns] == [TURN_COST, TURN_COST, TURN_COST, 30 - 3 * TURN_COST]
    assert len(sum(turns, Counter())) == 30


def test_what_costs_much_takes_several_turns_unless_nothing_else_goes_on(sockets: Sockets) -> None:
    for _ in range(4):
        sockets.add("strangers", cost=3 * TURN_COST)
    assert [sockets.turn().total() for _ in range(7)] == [1, 0, 0, 1, 0, 0, 1]
    assert sockets.turn(busy=False).total() == 1


def test_a_share_is_taken_and_given_back(sockets: Sockets) -> None:
    watched = [sockets.add(FLOOD) for _ in range(10)]
    assert sockets.turn().total() == FLOW_COST
    for one in watched:
        sockets.selector.release(one.fileno(), Share((FLOOD, "")))  # not the one it has
    assert sockets.turn().total() == FLOW_COST
    for one in watched:
        sockets.selector.release(one.fileno(), sockets.shares[one.fileno()])
    assert sockets.turn().total() == 10 - 2 * FLOW_COST
    for one in watched:
        sockets.selector.share(one.fileno(), sockets.shares[one.fileno()])
        sockets.other[one.fileno()].send(b"x")
    assert sockets.turn().total() == FLOW_COST


def test_what_is_closed_or_paused_while_it_waits_takes_no_turn(sockets: Sockets) -> None:
    watched = [sockets.add(FLOOD) for _ in range(10)]
    before = sockets.turn().total()
    waiting = [one for one in watched if one.fileno() in sockets.selector._ready]
    assert len(waiting) == 10 - before
    closed, paused, only_written = waiting[:3]
    for one in (closed, paused):
        sockets.selector.unregister(one)
    closed.close()
    sockets.selector.modify(only_written, WRITE, FLOOD)
    number = closed.fileno()
    assert number == -1
    came = sum((sockets.turn() for _ in range(10)), Counter[str]())
    assert came.total() == len(waiting) - 2, "also the one that waits for room to write"
    sockets.selector.register(paused, READ, FLOOD)
    assert sockets.turn().total() == 1, "what it did not read is still there"


def test_a_number_that_is_used_again_has_its_own_share(sockets: Sockets) -> None:
    for _ in range(5):
        sockets.add(FLOOD)
    last = sockets.add(FLOOD)
    sockets.turn()
    number = last.fileno()
    sockets.selector.unregister(last)
    sockets.selector.release(number, sockets.shares[number])
    last.close()
    again = sockets.add("", ready=False)
    assert again.fileno() == number
    sockets.other[number].send(b"x")
    assert sockets.turn() == {FLOOD: FLOW_COST, "": 1}


def test_the_end_of_a_connection_is_noticed(sockets: Sockets) -> None:
    watched = sockets.add(FLOOD, ready=False)
    sockets.other[watched.fileno()].close()
    (found,) = sockets.selector.select(0.5)
    assert (found[0].fileobj, found[1]) == (watched, READ)
    (again,) = sockets.selector.select(0.5)
    assert again[0].fileobj is watched, "it is told again until it is closed"


def test_it_waits_and_wakes_up(sockets: Sockets) -> None:
    watched = sockets.add(FLOOD, ready=False)
    assert sockets.selector.select(0.01) == []
    sockets.other[watched.fileno()].send(b"x")
    (found,) = sockets.selector.select(None)
    assert found[0].fileobj is watched
    assert sockets.selector.get_map()[watched.fileno()].data == FLOOD


@pytest.mark.parametrize("seed", range(5))
def test_all_bytes_arrive_in_order_whatever_is_paused_meanwhile(seed: int) -> None:
    """Many connections in few flows, read and answered with pauses at random."""
    chance = random.Random(seed)
    payload = bytes(chance.randrange(256) for _ in range(20_000))
    ends = list[asyncio.Future[None]]()

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport
            number = transport.get_extra_info("socket").fileno()
            loop = asyncio.get_running_loop()
            self.end = loop.create_future()
            ends.append(self.end)
            self.number, self.share = number, Share((f"peer {number % 3}", ""), 1 + number % 4)
            loop.sockets.share(number, self.share)  # type: ignore[attr-defined]

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)
            if chance.random() < 0.3:
                self.transport.pause_reading()
                asyncio.get_running_loop().call_later(chance.random() / 100, self.transport.resume_reading)

        def connection_lost(self, error: Exception | None) -> None:
            loop = asyncio.get_running_loop()
            loop.sockets.release(self.number, self.share)  # type: ignore[attr-defined]
            self.end.set_result(None)

    async def client(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        came = asyncio.create_task(reader.readexactly(len(payload)))
        for start in range(0, len(payload), 1000):
            writer.write(payload[start : start + 1000])
            await asyncio.sleep(0)
        found = await came
        writer.close()
        await writer.wait_closed()
        return found

    async def story() -> list[bytes]:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            found = await asyncio.gather(*(client(port) for _ in range(30)))
            await asyncio.wait_for(asyncio.gather(*ends), 60)  # Python 3.11 closes a server without them
            return found

    assert set(run(story())) == {payload}
