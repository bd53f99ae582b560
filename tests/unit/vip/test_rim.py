# SPDX-License-Identifier: Apache-2.0
"""Messages to systemd."""

import socket
from pathlib import Path

from tmr.vip.notify import Notifier


def test_notifier(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(path))
        notifier = Notifier({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "3000000"})
        assert notifier.watchdog_interval == 1.5
        notifier.send(READY="1", STATUS="well")
        assert supervisor.recv(100) == b"READY=1\nSTATUS=well"
    notifier.send(WATCHDOG="1")  # nobody listens any more
    notifier.close()


def test_without_a_supervisor_nothing_is_sent() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "3000000"})
    assert notifier.watchdog_interval is None
    notifier.send(READY="1")
    notifier.close()
