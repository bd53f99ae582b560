# SPDX-License-Identifier: Apache-2.0
"""Messages to the service manager, on a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tmr.runtime import systemd


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def test_every_message_arrives(manager: socket.socket) -> None:
    systemd.ready("serving")
    systemd.status("epoch 7")
    systemd.watchdog()
    systemd.stopping()
    heard = [manager.recv(1000) for _ in range(4)]
    assert heard == [b"READY=1\nSTATUS=serving", b"STATUS=epoch 7", b"WATCHDOG=1", b"STOPPING=1"]


def test_an_abstract_socket_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"tmr-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        systemd.ready()
        assert listening.recv(1000) == b"READY=1"


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.ready("x")
    systemd.watchdog()


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        (None, None, None),
        ("2000000", None, 2.0),
        ("2000000", "self", 2.0),
        ("2000000", "1", None),
        ("x", None, None),
    ],
)
def test_the_watchdog_is_ours_or_nobodys(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, seconds: float | None
) -> None:
    for key, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "self" else pid)):
        if value is None:
            monkeypatch.delenv(key, raising=False)
        else:
            monkeypatch.setenv(key, value)
    assert systemd.watchdog_interval() == seconds
