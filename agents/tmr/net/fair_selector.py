# SPDX-License-Identifier: Apache-2.0
"""Event loop whose sockets take turns: what is ready is handled in fair order, a little in each turn.

Everything that a peer can cause costs first when its bytes are read: TLS handshake, decryption, parsing. So
the turns are taken there. A socket that belongs to a peer (`share`) has a path of flows and a cost; in one
turn of the event loop sockets of cost `TURN_COST` are handled, of one flow `FLOW_COST`. What costs more takes
several turns, unless there is nothing else to do: in those what was begun before goes on. All other sockets,
such as connections of one's own to upstreams, are handled in every turn.
"""

import asyncio
import contextlib
import math
import select
import selectors
import socket
import sys
from collections.abc import Coroutine, Hashable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from tmr.runtime.fair_queue import FairQueue

T = TypeVar("T")

TURN_COST: Final = 8.0
"""Cost of the sockets of peers that are handled in one turn of the event loop."""
FLOW_COST: Final = 2.0
"""Cost after which no more of the same flow is handled in this turn."""


class Share(msgspec.Struct, frozen=True, eq=False):
    """Owner of the share of turns that a socket takes, and its cost each time that it is ready."""

    path: Sequence[Hashable]
    cost: float = 1.0


class NoTurns:
    """Stands for the turns of sockets where the event loop has none."""

    def share(self, sock: int, share: Share) -> None:
        """Nothing to do."""

    def release(self, sock: int, share: Share) -> None:
        """Nothing to do."""


if sys.platform == "linux":

    class FairSelector(selectors.BaseSelector):
        """epoll for the sockets of one event loop, in turns.

        A socket with a share is armed for one event (EPOLLONESHOT). The event waits in the fair queue for its
        turn; the socket is armed anew after that. So a turn costs nothing for each socket that waits.
        """

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self._keys: dict[int, selectors.SelectorKey] = {}
            self._shares: dict[int, Share] = {}
            self._queue: FairQueue[int] = FairQueue()
            self._ready: dict[int, int] = {}
            """Events of epoll that wait for their turn, by socket."""
            self._taken = 0.0
            """Cost of what was handled that turns have not made good yet."""
            self._handled: list[int] = []
            """Sockets with a share that had their turn, and are not armed."""

        # -- shares ----------------------------------------------------------------------------------------

        def share(self, sock: int, share: Share) -> None:
            """From now on, `sock` takes its turns in this share."""
            self._shares[sock] = share
            if sock in self._keys and sock not in self._ready:
                self._arm(sock)

        def release(self, sock: int, share: Share) -> None:
            """`sock` takes no turns any more; harmless where it has another share by now."""
            if self._shares.get(sock) is share:
                del self._shares[sock]
                self._ready.pop(sock, None)
                if sock in self._keys:
                    self._arm(sock)

        def _arm(self, sock: int) -> None:
            once = select.EPOLLONESHOT if sock in self._shares else 0
            self._epoll.modify(sock, _mask(self._keys[sock].events) | once)

        # -- as selectors have it --------------------------------------------------------------------------

        def register(self, fileobj: object, events: int, data: object = None) -> selectors.SelectorKey:
            sock = _number(fileobj)
            key = selectors.SelectorKey(fileobj, sock, events, data)  # type: ignore[arg-type]
            once = select.EPOLLONESHOT if sock in self._shares else 0
            self._epoll.register(sock, _mask(events) | once)
            self._keys[sock] = key
            return key

        def unregister(self, fileobj: object) -> selectors.SelectorKey:
            sock = _number(fileobj)
            key = self._keys.pop(sock)
            self._ready.pop(sock, None)
            with contextlib.suppress(OSError):  # closed before: epoll has forgotten it
                self._epoll.unregister(sock)
            return key

        def modify(self, fileobj: object, events: int, data: object = None) -> selectors.SelectorKey:
            sock = _number(fileobj)
            former = self._keys[sock]
            key = self._keys[sock] = former._replace(events=events, data=data)
            if events != former.events and sock not in self._ready:
                self._arm(sock)
            return key

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            """Events to be handled in this turn. It waits where there are none; at most `timeout` seconds."""
            self._arm_handled()
            found = []
            for sock, events in self._poll(timeout):
                share = self._shares.get(sock)
                if share is None:
                    found.append((self._keys[sock], _events(events) & self._keys[sock].events))
                else:
                    self._ready[sock] = events
                    self._queue.push(share.path, sock, share.cost)
            busy = timeout is not None and timeout <= 0  # so asyncio asks where something else goes on
            self._taken = max(0.0, self._taken - TURN_COST) if busy else 0.0
            of_flow = dict[Hashable, float]()
            while self._queue and self._taken < TURN_COST and of_flow.get(self._queue.next, 0.0) < FLOW_COST:
                flow = self._queue.next
                sock, cost = self._queue.pop()
                if sock in self._ready:  # else it was closed, or reads nothing for now
                    self._taken += cost
                    of_flow[flow] = of_flow.get(flow, 0.0) + cost
                    self._handled.append(sock)
                    found.append((self._keys[sock], _events(self._ready.pop(sock)) & self._keys[sock].events))
            return found

        def _arm_handled(self) -> None:
            for sock in self._handled:
                if sock in self._keys and sock not in self._ready:
                    self._arm(sock)
            self._handled.clear()

        def _poll(self, timeout: float | None) -> list[tuple[int, int]]:
            if self._ready:
                seconds = 0.0
            elif timeout is None:
                seconds = -1.0
            else:
                seconds = max(0.0, math.ceil(timeout * 1e3) * 1e-3)  # epoll counts whole milliseconds
            try:
                return self._epoll.poll(seconds, max(1, len(self._keys)))
            except InterruptedError:
                return []

        def close(self) -> None:
            self._epoll.close()
            self._keys.clear()

        def get_map(self) -> Mapping[object, selectors.SelectorKey]:  # type: ignore[override]
            return self._keys  # type: ignore[return-value]

    class FairLoop(asyncio.SelectorEventLoop):
        """Event loop with turns for the sockets of peers."""

        def __init__(self) -> None:
            self.sockets = FairSelector()
            super().__init__(self.sockets)

    def _mask(events: int) -> int:
        reads = select.EPOLLIN if events & selectors.EVENT_READ else 0
        return reads | (select.EPOLLOUT if events & selectors.EVENT_WRITE else 0)

    def _events(found: int) -> int:
        """An error, or the end of the connection, wakes readers and writers."""
        reads = selectors.EVENT_READ if found & ~select.EPOLLOUT else 0
        return reads | (selectors.EVENT_WRITE if found & ~select.EPOLLIN else 0)

    def new_event_loop() -> asyncio.AbstractEventLoop:
        """An event loop with turns, for a server."""
        return FairLoop()

    def turns_of_sockets() -> FairSelector | NoTurns:
        """The turns of the event loop that runs."""
        loop = asyncio.get_running_loop()
        return loop.sockets if isinstance(loop, FairLoop) else NoTurns()

else:

    def new_event_loop() -> asyncio.AbstractEventLoop:
        """An event loop for a server; it has turns on Linux alone."""
        return asyncio.new_event_loop()

    def turns_of_sockets() -> NoTurns:
        """The turns of the event loop that runs."""
        return NoTurns()


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, with turns for the sockets of peers."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def _number(fileobj: object) -> int:
    if isinstance(fileobj, int):
        return fileobj
    assert isinstance(fileobj, socket.socket)  # noqa: S101
    return fileobj.fileno()
