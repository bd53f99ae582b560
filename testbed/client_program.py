# SPDX-License-Identifier: Apache-2.0
"""A program on the client machine: its files are put there, it runs as a unit, and is read from outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbed.site import Site
from testbed.steps import StepFailed

_PYTHON = "/opt/tmr/current/bin/python"
_ABOVE = "/run/tmr-testbed"


class ClientProgram:
    """`python -m PACKAGE.MODULE` with these files of a package's directory and without the rest of it."""

    def __init__(
        self, site: Site, module: str, files: Sequence[str] = (), package: Path = Path(__file__).parent
    ) -> None:
        self._site, self._module = site, f"{package.name}.{module}"
        self._files = [package / name for name in ("__init__.py", f"{module}.py", *files)]
        self._unit = f"tmr-{self._module.replace('.', '-')}"
        self.directory = f"{_ABOVE}/{module}"
        """Working directory; `out` and `err` in it are its output."""

    def start(self, *arguments: object, stop_s: float = 20.0) -> None:
        """Start it anew. At the end it may take `stop_s` after SIGTERM."""
        package = f"{self.directory}/{self._files[0].parent.name}"
        words = " ".join(f"'{word}'" for word in arguments)
        self._inside(f"{self._gone()}; rm -rf {self.directory}; mkdir -p {package}", must=True)
        self._site.must("scp", "-q", "-F", self._site.names.ssh_config, *self._files, f"client:{package}/")
        self._inside(
            f"systemd-run --quiet --unit={self._unit} --working-directory={self.directory} "
            f"-p TimeoutStopSec={stop_s:g} -p StandardOutput=append:{self.directory}/out "
            f"-p StandardError=append:{self.directory}/err {_PYTHON} -m {self._module} {words}",
            must=True,
        )

    @contextmanager
    def running(self, *arguments: object, stop_s: float = 20.0) -> Iterator[None]:
        """It runs while the block does."""
        self.start(*arguments, stop_s=stop_s)
        try:
            yield
        finally:
            self.stop(stop_s)

    def alive(self) -> bool:
        """It has not ended."""
        return self._inside(f"systemctl is-active {self._unit}")

    def failed(self) -> bool:
        """It has ended, and not well."""
        return self._inside(f"systemctl is-failed {self._unit}")

    def stop(self, stop_s: float = 20.0) -> None:
        """SIGTERM; back when it has ended."""
        self._site.inside("client", f"systemctl stop {self._unit}", timeout_s=stop_s + 10)

    def lines(self, last: int | None = None, *, since: int = 0) -> list[str]:
        """Complete lines of its output: all, those after the first `since`, or the `last` ones."""
        command = f"tail -n +{since + 1}" if last is None else f"tail -n {last}"
        done = self._site.inside("client", f"{command} {self.directory}/out")
        if done.code:
            raise StepFailed(f"{self._module} on the client machine has left no output: {done.text}")
        return [line for line in done.out.splitlines(keepends=True) if line.endswith("\n")]

    def count(self) -> int:
        """Lines of its output so far."""
        return int(self._site.must_inside("client", f"wc -l < {self.directory}/out").out)

    def said(self) -> str:
        """The end of what it told on standard error."""
        return self._site.inside("client", f"tail -n 20 {self.directory}/err").out.strip()

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file of its directory from there."""
        source = f"client:{self.directory}/{name}"
        self._site.must("scp", "-q", "-F", self._site.names.ssh_config, source, target)

    def _gone(self) -> str:
        return f"systemctl stop {self._unit} 2>/dev/null; systemctl reset-failed {self._unit} 2>/dev/null"

    def _inside(self, command: str, *, must: bool = False) -> bool:
        if must:
            self._site.must_inside("client", command)
        return must or not self._site.inside("client", command).code
