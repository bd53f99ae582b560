# SPDX-License-Identifier: Apache-2.0
"""Telling the service manager how we are: sd_notify(3). Without NOTIFY_SOCKET nothing is sent."""

import os
import socket
import sys


def _send(*lines: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if sys.platform == "win32" or not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect(address)
        channel.sendall("\n".join(lines).encode())


def ready(status: str = "") -> None:
    """We serve now."""
    _send("READY=1", *([f"STATUS={status}"] if status else []))


def status(text: str) -> None:
    """One line for `systemctl status`."""
    _send(f"STATUS={text}")


def stopping() -> None:
    """An orderly stop has begun."""
    _send("STOPPING=1")


def watchdog() -> None:
    """We are alive: to be sent at least twice in each `watchdog_interval`."""
    _send("WATCHDOG=1")


def watchdog_interval() -> float | None:
    """Seconds after which the service manager kills a process that stays silent, or None: no watchdog."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or (pid.isdigit() and int(pid) != os.getpid()):
        return None
    return int(usec) / 1_000_000
