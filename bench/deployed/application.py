# SPDX-License-Identifier: Apache-2.0
"""An application on the client machine, which checks a licence out and gives it back all the time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from bench.deployed.figures import Requests
from testbed.application import Request, read
from testbed.client_program import ClientProgram
from testbed.site import Site
from testbed.steps import wait_for
from testbed.vendor import FIRM

_ENOUGH: Final = 40
_PATIENCE_S: Final = 60.0
_ERRORS: Final = 3


def requests(asked: Iterable[Request], since_ns: int) -> Requests:
    """Those that were under way at that time or later."""
    during = [one for one in asked if one.answered >= since_ns]
    errors = [f"{one.verb}: {one.error}" for one in during if one.error]
    longest = max(during, key=lambda one: one.took_ms, default=None)
    return Requests(
        asked=len(during),
        failed=len(errors),
        longest_ms=longest.took_ms if longest else 0.0,
        longest_from_ms=(longest.sent - since_ns) / 1e6 if longest else 0.0,
        errors=tuple(errors[:_ERRORS]),
    )


class Application:
    """Output of the application."""

    def __init__(self, site: Site) -> None:
        self._program = ClientProgram(site, "application")

    def asked(self) -> list[Request]:
        """All its requests whose outcome is known."""
        return [read(line) for line in self._program.lines()]

    def goes_on(self) -> None:
        """Wait until it has been answered some more times."""
        enough = self._program.count() + _ENOUGH

        def lacks() -> str:
            left = enough - self._program.count()
            return f"{left} answers are missing {self._program.said()}" if left > 0 else ""

        wait_for(lacks, _PATIENCE_S, "the application is answered")

    @contextmanager
    def at_work(self, product: int) -> Iterator[None]:
        """It works while the block runs."""
        with self._program.running("churn", FIRM, product):
            self.goes_on()
            yield
