# SPDX-License-Identifier: Apache-2.0
"""Process of a daemon on loopback: started from a configuration file, stopped, killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from testbed.steps import StepFailed

_BYTECODE = {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"}


class Daemon:
    """One process that is started from a configuration file, as the service manager does."""

    def __init__(self, module: str, config: Path) -> None:
        self.module = module
        self.config = config
        self.log = config.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise StepFailed(f"{self.module} was not started")
        return self._process

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in _BYTECODE}
        # Compiled once for all starts: else each takes seconds of a processor.
        environment["PYTHONPYCACHEPREFIX"] = str(self.config.parents[1] / "pycache")
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", self.module, "--config", str(self.config)]
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.config.parent, env=environment
            )

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """As `kill -9`, or a power cut without a disk that forgets."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def terminate(self) -> int:
        """An orderly stop; its exit status."""
        self._started.terminate()
        return self._started.wait(20)
