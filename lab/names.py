# SPDX-License-Identifier: Apache-2.0
"""Paths of one lab, and the names of its parts on the host."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.topology import Machine

ROOT = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


def state_root() -> Path:
    """Directory of all labs: $LAB_STATE, or `.lab` in the checkout."""
    return Path(os.environ.get("LAB_STATE") or ROOT / ".lab").resolve()


def cache_root() -> Path:
    """Directory of base trees: $LAB_CACHE, or `.cache/lab` in the checkout."""
    return Path(os.environ.get("LAB_CACHE") or ROOT / ".cache" / "lab").resolve()


@dataclass(frozen=True)
class LabNames:
    """Everything that is named after one lab.

    Names on the host carry six hex digits of the state directory too: labs of the same name in two
    checkouts do not clash, and `down` finds a lab's things even when its state directory is gone.
    """

    name: str
    state: Path

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LabError(
                f"{self.name!r} cannot name a lab: a small letter, then small letters, digits and -"
            )

        if re.search(r"[\s,:\\]", str(self.state)):
            raise LabError(
                f"{self.state}: a path with blanks, commas, colons or backslashes cannot be mounted"
            )

    @property
    def directory(self) -> Path:
        return self.state / self.name

    @property
    def tag(self) -> str:
        digest = hashlib.sha256(str(self.directory).encode()).hexdigest()[:6]
        return f"lab-{self.name}.{digest}"

    @property
    def description(self) -> Path:
        """JSON: disk and base tree of this lab; written when the lab begins to exist."""
        return self.directory / "lab.json"

    @property
    def ssh_config(self) -> Path:
        return self.directory / "ssh_config"

    @property
    def sockets(self) -> Path:
        """Directory of ssh's control sockets: short, for a socket's path may have 107 bytes only."""
        return Path("/run") / self.tag

    @property
    def fabric(self) -> str:
        """Network namespace that holds both bridges."""
        return f"{self.tag}-fabric"

    def namespace(self, machine: Machine) -> str:
        return f"{self.tag}-{machine.name}"

    def machine_directory(self, machine: Machine) -> Path:
        return self.directory / machine.name

    def boot_record(self, machine: Machine) -> Path:
        """JSON written by the machine's keeper at every boot."""
        return self.machine_directory(machine) / "boot.json"

    def known_hosts(self, machine: Machine) -> Path:
        return self.machine_directory(machine) / "known_hosts"

    def console_log(self, machine: Machine) -> Path:
        return self.machine_directory(machine) / "console.log"
