# SPDX-License-Identifier: Apache-2.0
"""Clients on the client machine: their program is put there, runs as a unit, and is read from outside."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from testbed.site import Site
from testbed.steps import StepFailed
from testbed.workload.operations import Operation, settled
from testbed.workload.plan import Plan

_PYTHON = "/opt/tmr/current/bin/python"
_ABOVE = "/run/tmr-testbed"
_PACKAGE = Path(__file__).parent / "workload"


class ClientProgram:
    """`python -m workload.clients` with a plan. Programs of different names run side by side."""

    def __init__(self, site: Site, name: str) -> None:
        self._site = site
        self._unit, self._directory = f"tmr-clients-{name}", f"{_ABOVE}/{name}"
        self._output = f"{self._directory}/operations"

    def start(self, plan: Plan, stop_s: float = 20.0) -> None:
        """Start it anew. At the end it may take `stop_s` after SIGTERM."""
        there = f"{self._directory}/{_PACKAGE.name}"
        gone = f"systemctl stop {self._unit} 2>/dev/null; systemctl reset-failed {self._unit} 2>/dev/null"
        self._site.must_inside("client", f"{gone}; rm -rf {self._directory}; mkdir -p {there}")
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            file.write(msgspec.json.encode(plan))
            file.flush()
            self._site.put("client", Path(file.name), f"{self._directory}/plan")
        self._site.put("client", sorted(_PACKAGE.glob("*.py")), there)
        self._site.must_inside(
            "client",
            f"touch {self._output}; "
            f"systemd-run --quiet --unit={self._unit} --working-directory={self._directory} "
            f"-p TimeoutStopSec={stop_s:g} -p StandardError=append:{self._directory}/err "
            f"{_PYTHON} -m {_PACKAGE.name}.clients plan operations",
        )

    @contextmanager
    def running(self, plan: Plan, stop_s: float = 20.0) -> Iterator[None]:
        """It runs while the block does."""
        self.start(plan, stop_s)
        try:
            yield
        finally:
            self.stop(stop_s)

    def alive(self) -> bool:
        """It has not ended."""
        return not self._site.inside("client", f"systemctl is-active {self._unit}").code

    def failed(self) -> bool:
        """It has ended, and not well."""
        return not self._site.inside("client", f"systemctl is-failed {self._unit}").code

    def stop(self, stop_s: float = 20.0) -> None:
        """SIGTERM; back when it has ended."""
        self._site.inside("client", f"systemctl stop {self._unit}", timeout_s=stop_s + 10)

    def operations(self, last: int | None = None) -> list[Operation]:
        """Requests of all clients so far, or those of the `last` lines."""
        command = "cat" if last is None else f"tail -n {last}"
        done = self._site.inside("client", f"{command} {self._output}")
        if done.code:
            raise StepFailed(f"the clients on the client machine have left no record: {done.text}")
        return settled(done.out.splitlines(keepends=True))

    def said(self) -> str:
        """The end of what it told on standard error."""
        return self._site.inside("client", f"tail -n 20 {self._directory}/err").out.strip()
