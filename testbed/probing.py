# SPDX-License-Identifier: Apache-2.0
"""The prober in the client machine's network, and what it has seen so far."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab.names import ROOT, LabNames
from lab.topology import machine_named
from testbed import pauses
from testbed.pauses import Attempt, Pause, read, steady
from testbed.steps import StepFailed, wait_for

_STEADY_NS: Final = 500_000_000
_FIRST_S: Final = 10.0
_AGAIN_S: Final = 30.0
_END_S: Final = 10.0


class Probing:
    """A process that opens a connection every 5 ms; its lines are read from a file as they come."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log.open()
        self._attempts: list[Attempt] = []
        self._rest = ""

    @property
    def attempts(self) -> list[Attempt]:
        """All that have ended."""
        *lines, self._rest = (self._rest + self._log.read()).splitlines(keepends=True) or [""]
        if self._rest.endswith("\n"):
            lines, self._rest = [*lines, self._rest], ""
        self._attempts += read(lines)
        return self._attempts

    def close(self) -> None:
        """End the prober."""
        self._log.close()
        self._process.terminate()
        self._process.wait(_END_S)

    def answered_since(self, since: float) -> None:
        """Wait until all attempts of half a second have succeeded that began since then (CLOCK_BOOTTIME)."""

        def lacks() -> str:
            if self._process.poll() is not None:
                raise StepFailed(f"the prober ended with {self._process.returncode}")
            attempts = self.attempts
            last = attempts[-1:]
            if steady(attempts, _ns(since), _STEADY_NS):
                return ""
            return f"its last attempt: {last[0].outcome}" if last else "it has attempted nothing"

        wait_for(lacks, _AGAIN_S if since else _FIRST_S, "the address answers the prober")

    def pause(self, since: float) -> Pause:
        """The pause around an event that began then."""
        found = pauses.pause(self.attempts, _ns(since))
        if found is None:
            raise StepFailed("the prober was not answered after the event")
        return found


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


@contextmanager
def probing(names: LabNames, address: str, port: int) -> Iterator[Probing]:
    """The prober runs while the block does, and is answered when it begins."""
    namespace = names.namespace(machine_named("client"))
    command = (
        "ip",
        "netns",
        "exec",
        namespace,
        sys.executable,
        "-m",
        "testbed.tcp_prober",
        address,
        str(port),
    )
    with tempfile.TemporaryDirectory(prefix="tcp-prober-") as directory:
        log = Path(directory) / "attempts"
        with log.open("wb") as written:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=written,
            )
        probing = Probing(process, log)
        try:
            probing.answered_since(0)
            yield probing
        finally:
            probing.close()
