# SPDX-License-Identifier: Apache-2.0
"""The limit of connections of a process, and the choice of the one to close when it is reached.

A connection whose peer has not shown a certificate yet is a pending handshake. When there are too many, the
connection that has waited longest is closed, of the address that has most there: handshakes that never end
cannot keep out an honest one, which takes milliseconds. Inside, a peer has at most three quarters of the
room; when all is taken, the peer with the most connections loses the one that has rested longest. Handshakes
and open connections take turns in the event loop (`fair_selector`).
"""

import asyncio
import contextlib
import errno
import logging
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Final, Protocol

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tmr.net.fair_selector import Share, turns_of_sockets
from tmr.runtime.logs import fields

if sys.platform != "win32":
    import resource

log = logging.getLogger(__name__)

RESERVE: Final = 256
"""File descriptors left for everything else: the store, connections of one's own, files being read."""
MOST: Final = 8192
"""Connections that no process has more of: each takes some 100 KB of memory."""
PENDING: Final = 1024
"""Handshakes at one time that no process has more of."""
UNLIMITED_FILES: Final = 4096
"""File descriptors to count with where the system does not say how many there are."""
STALLED: Final = 20.0
"""Seconds after which a connection ends whose peer takes no byte of what it was sent."""
PAUSE: Final = 0.2
"""Seconds without accepting when the system has no file descriptor or memory for another connection."""
QUIET: Final = 10.0
"""Seconds in which one reason for sending peers away is logged once."""
ACCEPTED: Final = 2
"""Connections accepted in one turn of the event loop."""
HANDSHAKE_COST: Final = 24.0
"""Cost of a part of a handshake, in reads of an open connection: each takes about a millisecond."""
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Enter = Callable[[socket.socket], Coroutine[Any, Any, object]]
"""Makes a connection of an accepted socket; ends when its handshake has."""

_address: ContextVar[str] = ContextVar("address", default="")


class ConnectionLimits(msgspec.Struct, frozen=True):
    """Connections at one time: `pending` that are in a handshake, `inside` that have shown their identity.

    `of_one`: of those inside, the most of one peer; `of_address`: of the handshakes, the most of one address.
    """

    pending: int
    inside: int
    of_one: int
    of_address: int


def limits(files: int | None = None) -> ConnectionLimits:
    """Limits that the limit of open files, `files` or that of the process, leaves room for."""
    if files is None:
        files = _open_files()
    room = max(16, min(files - min(RESERVE, files // 2), MOST))
    pending = min(room // 4, PENDING)
    inside = room - pending
    return ConnectionLimits(pending, inside, inside * 3 // 4, max(1, pending // 4))


def _open_files() -> int:
    if sys.platform == "win32":
        return UNLIMITED_FILES
    else:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return MOST * 2 if soft == resource.RLIM_INFINITY else soft


class LimitedConnection(Protocol):
    """A connection that has shown its identity."""

    holder: Hashable
    """Client that it belongs to."""
    resting_since: float | None
    """Time at which it last had something to do, by the loop's clock; None: it has."""

    def turn_out(self) -> None:
        """End the connection."""


class ConnectionLimiter(Collector):
    """The connections of one process, and counters of those that were refused, for `/metrics`."""

    def __init__(self, limits_: ConnectionLimits | None = None) -> None:
        self.limits = limits_ or limits()
        self._pending: dict[asyncio.Task[None], str] = {}
        self._outside: dict[asyncio.Task[Any] | None, socket.socket] = {}
        """Sockets of those whose handshake has not begun."""
        self._of_address = Counter[str]()
        """Handshakes by address."""
        self._inside: dict[Hashable, dict[LimitedConnection, None]] = {}
        self._count = 0
        self._refused: dict[str, int] = {}
        self._told: dict[str, tuple[float, int]] = {}

    # -- pending handshakes ----------------------------------------------------------------------------------

    async def accept(self, sock: socket.socket, enter: Enter) -> None:
        """Accept connections, and have each enter, until cancelled."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        accepted = 0
        while True:
            try:
                arrived, address = await loop.sock_accept(sock)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self.refuse("exhausted", error.strerror or str(error))
                    self._clear_pending(max(1, len(self._pending) // 2))
                if error.errno != errno.ECONNABORTED:
                    await asyncio.sleep(PAUSE)
                continue
            where = str(address[0]) if isinstance(address, tuple) else ""
            self._clear_pending(len(self._pending) + 1 - self.limits.pending)
            if self._of_address[where] >= self.limits.of_address:
                self._send_away(where)
            if where and hasattr(socket, "TCP_USER_TIMEOUT"):
                with contextlib.suppress(OSError):  # it has gone again
                    arrived.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALLED * 1000))
            token = _address.set(where)
            task = loop.create_task(self._receive(arrived, where, enter))
            _address.reset(token)
            self._pending[task] = where
            self._of_address[where] += 1
            self._outside[task] = arrived
            task.add_done_callback(self._left)
            accepted += 1
            if accepted % ACCEPTED == 0:
                await asyncio.sleep(0)  # a full backlog must not keep everybody else from being served

    async def _receive(self, sock: socket.socket, address: str, enter: Enter) -> None:
        self._outside.pop(asyncio.current_task(), None)
        sockets, number = turns_of_sockets(), sock.fileno()
        share = Share(("", address), HANDSHAKE_COST)  # strangers take their turns in one share together
        sockets.share(number, share)
        try:
            await enter(sock)
        except OSError as error:  # else it has gone, or has been told why it is refused
            if "handshake is taking longer" in str(error):
                self.refuse("slow", "the TLS handshake took too long")
        finally:
            sockets.release(number, share)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._forget(task)
        sock = self._outside.pop(task, None)
        if sock is not None:
            sock.close()

    def _forget(self, task: asyncio.Task[None]) -> None:
        address = self._pending.pop(task, None)
        if address is not None:
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def _clear_pending(self, count: int) -> None:
        for _ in range(min(count, len(self._pending))):
            (most, _), *_ = self._of_address.most_common(1)
            self._send_away(most)

    def _send_away(self, address: str) -> None:
        """End the handshake from `address` that has waited longest."""
        task = next(task for task, where in self._pending.items() if where == address)
        self.refuse("crowded", "too many handshakes at one time", address)
        self._forget(task)
        task.cancel()

    def handshake_failed(self, reason: str) -> None:
        """Called within a handshake that fails for `reason`."""
        self.refuse("certificate" if "certificate" in reason else "tls", reason)

    # -- inside --------------------------------------------------------------------------------------------

    def enter(self, connection: LimitedConnection) -> bool:
        """Let one in; False: there is no room, and it must go."""
        mine = self._inside.setdefault(connection.holder, {})
        full = self._count >= self.limits.inside or len(mine) >= self.limits.of_one
        if full and not self._make_room(connection, mine):
            if not mine:
                del self._inside[connection.holder]
            return False
        mine = self._inside.setdefault(connection.holder, {})
        mine[connection] = None
        self._count += 1
        return True

    def leave(self, connection: LimitedConnection) -> None:
        """It has gone; harmless for one that was not let in."""
        mine = self._inside.get(connection.holder, {})
        if connection in mine:
            del mine[connection]
            self._count -= 1
            if not mine:
                del self._inside[connection.holder]

    def _make_room(self, connection: LimitedConnection, mine: Mapping[LimitedConnection, None]) -> bool:
        most = mine if len(mine) >= self.limits.of_one else max(self._inside.values(), key=len)
        resting = [one for one in most if one.resting_since is not None]
        if resting:
            leaves = min(resting, key=lambda one: one.resting_since or 0.0)
        elif most is mine:
            return False
        else:
            leaves = next(iter(most))
        self.refuse("full", f"no room for more connections; the most are of {leaves.holder}", "")
        self.leave(leaves)
        leaves.turn_out()
        return True

    # -- telling -------------------------------------------------------------------------------------------

    def refuse(self, kind: str, reason: str, address: str | None = None) -> None:
        """Count a connection that is refused; the log has the first of its kind, then one now and then."""
        self._refused[kind] = self._refused.get(kind, 0) + 1
        now = time.monotonic()
        since, untold = self._told.get(kind, (now - QUIET, 0))
        if now - since < QUIET:
            self._told[kind] = since, untold + 1
            return
        self._told[kind] = now, 0
        peer = _address.get() if address is None else address
        log.warning("connection refused", extra=fields(kind=kind, reason=reason, address=peer, untold=untold))

    def collect(self) -> Iterable[Metric]:
        """The metrics of now."""
        refused = CounterMetricFamily(
            "tmr_connections_refused", "Connections refused, or ended for others.", labels=["kind"]
        )
        for kind in sorted(self._refused):
            refused.add_metric([kind], self._refused[kind])
        yield refused
        connections = GaugeMetricFamily("tmr_connections", "Connections now.", labels=["state"])
        connections.add_metric(["handshake"], len(self._pending))
        connections.add_metric(["open"], self._count)
        yield connections
