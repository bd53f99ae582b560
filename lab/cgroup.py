# SPDX-License-Identifier: Apache-2.0
"""Control groups: how all processes of a machine are stopped, frozen or killed at once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from lab.errors import LabError
from lab.wait import until

_KILL_TIMEOUT_S = 20.0
_FREEZE_TIMEOUT_S = 10.0


def _mount_points(kind: str, option: str = "") -> list[Path]:
    """Mount points of file systems of `kind` with `option` among their super options."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        this_kind, _, options = rest.split(" ", 2)
        if this_kind == kind and (not option or option in options.split(",")):
            found.append(Path(fields.split()[4]))
    return found


def hierarchy() -> Path:
    """Mount point of the unified (v2) hierarchy."""
    for mount_point in _mount_points("cgroup2"):
        return mount_point
    raise LabError("no cgroup v2 hierarchy is mounted: `mount -t cgroup2 none /sys/fs/cgroup` where you can")


class Cgroup:
    """One cgroup, by its name below the root of the v2 hierarchy; it need not exist yet."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = hierarchy() / name

    def child(self, name: str) -> Cgroup:
        return Cgroup(f"{self.name}/{name}")

    def create(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)

    def join(self, pid: int) -> None:
        """Move process `pid` into this cgroup, which must exist."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def processes(self) -> list[int]:
        """Host's pids of the processes in it, not of those below it."""
        try:
            return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]
        except OSError:
            return []

    def populated(self) -> bool:
        """True while a process lives in it or below it."""
        return self._event("populated")

    def frozen(self) -> bool:
        return self._event("frozen")

    def _event(self, key: str) -> bool:
        try:
            return f"{key} 1" in (self.path / "cgroup.events").read_text().splitlines()
        except OSError:  # gone, or going
            return False

    def freeze(self, frozen: bool, *, wait: bool = True) -> None:
        """Stop, or let go on, every process at once."""
        (self.path / "cgroup.freeze").write_text("1" if frozen else "0")
        if wait:
            word = "freeze" if frozen else "thaw"
            until(lambda: self.frozen() is frozen, _FREEZE_TIMEOUT_S, f"cgroup {self.name} does not {word}")

    def kill(self) -> None:
        """SIGKILL to every process in it and below it, also to frozen ones, without waiting."""
        with suppress(FileNotFoundError):
            (self.path / "cgroup.kill").write_text("1")

    def wait_empty(self, timeout_s: float = _KILL_TIMEOUT_S) -> None:
        until(lambda: not self.populated(), timeout_s, f"processes remain in cgroup {self.name}")

    def remove(self) -> None:
        """Kill what is in it, and remove it with all below it, here and in systemd's v1 hierarchy.

        nspawn mirrors its cgroup there on a host that mounts both.
        """
        roots = [self.path, *(mount / self.name for mount in _mount_points("cgroup", "name=systemd"))]

        def gone() -> bool:
            self.kill()
            for root in roots:
                for directory, _, _ in os.walk(root, topdown=False):
                    with suppress(OSError):  # busy until its last process is reaped: the next round gets it
                        Path(directory).rmdir()
            return not any(root.exists() for root in roots)

        until(gone, _KILL_TIMEOUT_S, f"cgroup {self.name} cannot be removed")
