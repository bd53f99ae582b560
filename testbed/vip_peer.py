# SPDX-License-Identifier: Apache-2.0
"""The other end of the VIP socket, for tests on loopback: speaks tmr-vip's protocol, touches no address."""

import base64
import contextlib
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.steps import StepFailed


class VipPeer:
    """Accepts one tmr-server at a time. `on_death(will)` is called when it ends without having dropped."""

    def __init__(self, path: Path, on_death: Callable[[bytes], None] = lambda _: None) -> None:
        self.path = path
        self.on_death = on_death
        self.commands: list[dict[str, Any]] = []
        self.epoch: int | None = None
        """Epoch for which the address is up."""
        self._release = b""
        self._connection: socket.socket | None = None
        self._lock = threading.Lock()
        self._closing = False
        self._awake = threading.Event()
        self._awake.set()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> "VipPeer":
        """Begin to listen."""
        self.path.unlink(missing_ok=True)
        self._closing = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._run, args=(self._listener,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Vanish, as a killed tmr-vip does."""
        self._closing = True
        self._awake.set()
        for sock in (self._listener, self._connection):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
        if self._thread is not None:
            self._thread.join(5)
        self.epoch = None

    def stand_still(self) -> None:
        """Read nothing and answer nothing, as a tmr-vip that is frozen."""
        self._awake.clear()

    def go_on(self) -> None:
        """Read what has waited."""
        self._awake.set()

    def report(self, **event: Any) -> None:
        """Tell the server something."""
        with self._lock:
            if self._connection is None:
                raise StepFailed("no server is connected to this tmr-vip")
            self._connection.sendall(json.dumps(event).encode() + b"\n")

    def carrier(self, up: bool) -> None:
        """The front cable is plugged in, or pulled."""
        self.report(event="carrier", up=up)
        if not up and self.epoch is not None:
            epoch, self.epoch = self.epoch, None
            self.report(event="dropped", epoch=epoch, reason="carrier")

    def _run(self, listener: socket.socket) -> None:
        while not self._closing:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                self._connection = connection
                self.report(event="hello", version=1, carrier=True)
                for line in connection.makefile("rb"):
                    self._awake.wait()
                    self._follow(json.loads(line))
            self._connection = None
            if self.epoch is not None and not self._closing:
                self.epoch = None
                self.on_death(self._release)

    def _follow(self, command: dict[str, Any]) -> None:
        if command["op"] != "ping":
            self.commands.append(command)
        if command["op"] == "hold":
            self._release = base64.b64decode(command["release"])
            self.epoch = command["epoch"]
            self.report(event="held", epoch=self.epoch, deadline_ns=command["deadline_ns"])
        elif command["op"] == "ping":
            self.report(event="pong")
        else:
            self.epoch = None
            self.report(event="dropped", epoch=command["epoch"], reason="asked")
