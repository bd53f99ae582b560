# SPDX-License-Identifier: Apache-2.0
"""The lab, driven from outside as its users do: by its command line, with the system's python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PYTHON = shutil.which("python3", path="/usr/bin:/bin") or sys.executable


def lab(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`python3 -m lab ARGUMENTS` to its end; with `check`, its failure is the test's, with what it said."""
    done = subprocess.run(
        [PYTHON, "-m", "lab", *arguments],
        cwd=ROOT,
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if check:
        assert done.returncode == 0, f"lab {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done


def eventually(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Whether `condition` comes true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@dataclass(frozen=True)
class Lab:
    """One lab that is up."""

    name: str

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return lab("--name", self.name, *arguments, check=check)

    def command(self, *arguments: str) -> list[str]:
        """What a test runs itself, from ROOT, when it does not want to wait for the end."""
        return [PYTHON, "-m", "lab", "--name", self.name, *arguments]

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("status", "--json").stdout)
        return found

    def machine(self, name: str) -> dict[str, Any]:
        one: dict[str, Any] = self.status()["machines"][name]
        return one

    def ssh(self, machine: str, command: str) -> str:
        return self("ssh", machine, "--", command).stdout.strip()

    def pings(self, source: str, address: str) -> bool:
        """Whether `address` answers one ping sent from `source` within a second."""
        return self("shell", source, "ping", "-c1", "-W1", address, check=False).returncode == 0

    def resolves(self, source: str, address: str) -> bool:
        """Whether somebody answers an ARP request for `address` sent from eth0 of `source`."""
        arping = ("arping", "-q", "-f", "-c2", "-w2", "-I", "eth0", address)
        return self("shell", source, *arping, check=False).returncode == 0

    @property
    def tag(self) -> str:
        return str(self.status()["fabric"]["namespace"]).removesuffix("-fabric")

    @property
    def directory(self) -> Path:
        return Path(self.status()["directory"])


def traces(tag: str, directory: Path) -> list[str]:
    """Everything on this host that belongs to the lab of that tag and state directory."""
    found = [f"path {path}" for path in (directory, Path("/run") / tag) if path.exists()]
    found += [f"namespace {path}" for path in Path("/run/netns").glob(f"{tag}*")]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"**/{tag}*")]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [f"mount {line}" for line in mounts if tag in line or str(directory) in line]
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if str(directory) in backing.read_text():
                found.append(f"loop device {backing}")
        except OSError:
            continue
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            group = (process / "cgroup").read_text() if words != [""] else ""
        except OSError:
            continue
        if tag in group or any(tag in word or word.startswith(str(directory)) for word in words):
            found.append(f"process {process.name} {' '.join(words)}")
    return found
