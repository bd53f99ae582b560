# SPDX-License-Identifier: Apache-2.0
"""`python -m testbed.tcp_prober ADDRESS PORT`: opens a TCP connection every 5 ms, until SIGTERM.

Each attempt is a line on standard output once it has ended: when it began and ended, nanoseconds of
CLOCK_BOOTTIME, and `ok` or why there is no connection. None waits for another: what is measured is the pause
of the service, to 5 ms, and not the patience of who asks.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Final

EVERY_NS: Final = 5_000_000
PATIENCE_NS: Final = 250_000_000
"""Shorter than the second after which the kernel would ask again: each attempt is one SYN."""
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closed at once, and no port is kept waiting."""
_AHEAD: Final = -10
"""Niceness: who measures must not wait for those who are measured."""


def now_ns() -> int:
    """Time on the clock that all machines of a lab share."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class TcpProber:
    """The attempts under way, the oldest first, by their file descriptors."""

    def __init__(self, address: str, port: int) -> None:
        self._address = (address, port)
        self._poll = select.epoll()
        self._waiting: dict[int, tuple[socket.socket, int]] = {}

    def begin(self) -> None:
        """Send one SYN."""
        began = now_ns()
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        failure = sock.connect_ex(self._address)
        self._waiting[sock.fileno()] = sock, began
        if failure == errno.EINPROGRESS:
            self._poll.register(sock, select.EPOLLOUT)
        else:
            self._end(sock.fileno(), failure)

    def look(self, until_ns: int) -> None:
        """Note what has ended, until then."""
        left = max(0, until_ns - now_ns()) / 1e9
        for descriptor, _ in self._poll.poll(left):
            sock, _ = self._waiting[descriptor]
            self._end(descriptor, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        late = now_ns() - PATIENCE_NS
        for descriptor in [number for number, (_, began) in self._waiting.items() if began < late]:
            self._end(descriptor, errno.ETIMEDOUT)

    def _end(self, descriptor: int, failure: int) -> None:
        ended = now_ns()
        sock, began = self._waiting.pop(descriptor)
        sock.close()
        outcome = errno.errorcode.get(failure, str(failure)) if failure else "ok"
        os.write(sys.stdout.fileno(), f"{began} {ended} {outcome}\n".encode())


def main() -> None:
    over: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: over.append(number))
    with suppress(PermissionError):
        os.nice(_AHEAD)
    gc.disable()
    prober = TcpProber(sys.argv[1], int(sys.argv[2]))
    due = now_ns()
    while not over:
        prober.begin()
        due = max(due + EVERY_NS, now_ns())  # who was held up does not catch up
        prober.look(due)
        while now_ns() < due:
            prober.look(due)


if __name__ == "__main__":
    main()
