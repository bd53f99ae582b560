# SPDX-License-Identifier: Apache-2.0
"""Messages to systemd, see sd_notify(3). Without NOTIFY_SOCKET all of this does nothing."""

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends `NAME=value` datagrams to the supervisor that started us."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._path = environment.get("NOTIFY_SOCKET", "")
        self.watchdog_interval: float | None = None
        """Seconds between signs of life, half of WatchdogSec=; None without watchdog."""
        usec = environment.get("WATCHDOG_USEC", "")
        if self._path and usec.isdigit() and int(usec) > 0:
            self.watchdog_interval = int(usec) / 2e6
        self._socket: socket.socket | None = None
        if self._path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def send(self, **variables: str) -> None:
        """For example `send(READY="1")`. A supervisor that does not listen is no reason to fail."""
        if self._socket is None:
            return
        path = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        message = "\n".join(f"{name}={value}" for name, value in variables.items())
        try:
            self._socket.sendto(message.encode(), path)
        except OSError:
            return

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
