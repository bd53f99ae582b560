# SPDX-License-Identifier: Apache-2.0
"""Log of the twins that have the virtual address: a line for each change, and one a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chaos.records import HOLDERS, Holders, append

EVERY_S = 0.02
_LINE_S = 1.0
"""A line is written at least so often: the rule counts the looks."""


class AddressLog:
    """Looks of a VipWatcher, at the times of `now`."""

    def __init__(self, directory: Path, now: Callable[[], float]) -> None:
        self._file, self._now = directory / HOLDERS, now
        self._since, self._looks = now(), 0
        self._before: tuple[str, ...] | None = None

    def saw(self, twins: tuple[str, ...]) -> None:
        """One look."""
        at = self._now()
        if self._before is not None and (twins != self._before or at - self._since > _LINE_S):
            self.write()
            self._since = at
        self._before = twins
        self._looks += 1

    def write(self) -> None:
        """Writes a line of all looks since the last one."""
        if self._before is not None:
            append(self._file, [Holders(self._since, self._before, self._looks)])
            self._looks = 0
