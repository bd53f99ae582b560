# SPDX-License-Identifier: Apache-2.0
"""The front LAN on loopback: a virtual address that leads to whichever twin holds it, and the twins' own.

Forwards bytes, so that TLS goes from end to end. As with a real address, connections made before a takeover
break, and while nobody holds the address it is silent.
"""

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Self

from testbed.loopback import Machines, Twin

VIP, OWN = "127.0.0.1", {"tmr1": "127.0.0.2", "tmr2": "127.0.0.3"}
POLL = 0.02


class Front:
    """127.0.0.1 is the virtual address, 127.0.0.2 and 127.0.0.3 are the twins; all at `port`."""

    def __init__(self, machines: Machines) -> None:
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listeners: list[socket.socket] = []
        twins = {twin.name: twin for twin in machines.twins}

        def holder() -> Twin | None:
            return next((twin for twin in machines.twins if twin.vip.epoch is not None), None)

        self.port = self._listen(VIP, 0, holder)
        for name, address in OWN.items():
            self._listen(address, self.port, partial(twins.get, name))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in self._threads:
            thread.join()

    def _listen(self, address: str, port: int, target: Callable[[], Twin | None]) -> int:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(64)
        self._listeners.append(listener)
        self._spawn(lambda: self._accept(listener, target))
        return int(listener.getsockname()[1])

    def _spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, target: Callable[[], Twin | None]) -> None:
        while not self._closing.is_set():
            try:
                near, _ = listener.accept()
            except OSError:
                return
            self._spawn(lambda near=near: self._forward(near, target))  # type: ignore[misc]

    def _forward(self, near: socket.socket, target: Callable[[], Twin | None]) -> None:
        with near:
            twin = target()
            while twin is None:
                if self._closing.wait(POLL):
                    return
                twin = target()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", twin.port), 1) as far:
                while not self._closing.is_set() and target() is twin:
                    ready, _, _ = select.select([near, far], [], [], POLL)
                    for source, sink in ((near, far), (far, near)):
                        if source in ready:
                            data = source.recv(65536)
                            if not data:
                                return
                            sink.sendall(data)
                far.setblocking(False)
                near.sendall(far.recv(65536))  # it had left before the address did
