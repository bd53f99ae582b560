# SPDX-License-Identifier: Apache-2.0
"""The lab from outside: machines, playbooks, programs in machines, files on the controller."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.names import ROOT, LabNames
from lab.topology import machine_named
from testbed.steps import StepFailed

BIN = Path(sys.executable).parent
KILL = "kill -9 $(systemctl show --property=MainPID --value tmr-server)"
"""Run in a twin: its server is gone at once, as after a crash."""
_WIDTH = "86"


@dataclass(frozen=True)
class Done:
    """A program that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def text(self) -> str:
        """End of its output, for a failed step."""
        return (
            "\n".join((self.err.strip() or self.out.strip()).splitlines()[-12:]) or f"exit code {self.code}"
        )


class Site:
    """One lab, and the TMR system on its machines."""

    def __init__(self, names: LabNames) -> None:
        self.names = names
        self.work = names.directory / "demo"

    @cached_property
    def environment(self) -> dict[str, str]:
        """For playbooks and tools of the controller."""
        return {
            **os.environ,
            "LAB_SSH_CONFIG": str(self.names.ssh_config),
            "ANSIBLE_HOME": str(ROOT / ".cache" / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "COLUMNS": _WIDTH,
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }

    def run(self, *command: str | Path, directory: Path = ROOT, timeout_s: float = 60.0) -> Done:
        """Run a program of the controller to its end, whatever that is."""
        words = [str(word) for word in command]
        started = time.monotonic()
        try:
            done = subprocess.run(
                words,
                cwd=directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise StepFailed(f"`{' '.join(words)}` is not done after {timeout_s:.0f} s") from None
        return Done(done.returncode, done.stdout, done.stderr, time.monotonic() - started)

    def must(self, *command: str | Path, directory: Path = ROOT, timeout_s: float = 60.0) -> Done:
        """The same; StepFailed with the program's own words unless it succeeds."""
        done = self.run(*command, directory=directory, timeout_s=timeout_s)
        if done.code:
            words = " ".join(str(word) for word in command)
            raise StepFailed(f"`{words}` ended with {done.code}: {done.text}")
        return done

    def playbook(self, name: str, *extra: str, timeout_s: float = 900.0) -> Done:
        """Run a playbook against the lab."""
        inventory = ROOT / "inventory" / "lab"
        return self.run(
            "ansible-playbook", "-i", inventory, name, *extra, directory=ROOT / "ansible", timeout_s=timeout_s
        )

    # -- in machines -----------------------------------------------------------------------------------------

    def _ssh(self, name: str, command: str) -> tuple[str, ...]:
        return ("ssh", "-n", "-F", str(self.names.ssh_config), name, "--", command)

    def inside(self, name: str, command: str, timeout_s: float = 60.0) -> Done:
        """Run a shell command in the machine, by ssh."""
        return self.run(*self._ssh(name, command), timeout_s=timeout_s)

    def must_inside(self, name: str, command: str, timeout_s: float = 60.0) -> Done:
        """The same, and it must succeed."""
        return self.must(*self._ssh(name, command), timeout_s=timeout_s)

    def tmr(self, arguments: str, timeout_s: float = 60.0) -> Done:
        """Run the users' command on the client machine."""
        return self.inside("client", f"COLUMNS={_WIDTH} /opt/tmr/current/bin/tmr {arguments}", timeout_s)

    def put(self, name: str, source: Path | Sequence[Path], target: str) -> None:
        """Copy a file, or several, into the machine."""
        files = [source] if isinstance(source, Path) else source
        self.must("scp", "-q", "-F", self.names.ssh_config, *files, f"{name}:{target}")

    def reaches(self, source: str, address: str, port: int) -> bool:
        """True if a TCP connection can be opened within two seconds, from a machine or from `fabric`."""
        namespace = self.names.fabric if source == "fabric" else self.names.namespace(machine_named(source))
        connect = f"exec 3<>/dev/tcp/{address}/{port}"
        return self.run("ip", "netns", "exec", namespace, "timeout", "2", "bash", "-c", connect).code == 0
