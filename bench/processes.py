# SPDX-License-Identifier: Apache-2.0
"""Processes that are measured: started, watched through /proc, ended."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """Processor seconds that a process has used, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def waited(pid: int) -> float:
    """Seconds that the main thread of a process was ready to run and had no processor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def listens(port: int) -> bool:
    """Something accepts connections on the port of 127.0.0.1."""
    with socket.socket() as sock:
        sock.settimeout(0.2)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def start(
    command: Sequence[str | Path], directory: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """A daemon whose output goes to a file in its directory, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "log").open("ab") as log:
        return subprocess.Popen(
            [str(word) for word in command], cwd=directory, env=environment, stdout=log, stderr=log
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill it, and wait."""
    process.kill()
    process.wait(10)
