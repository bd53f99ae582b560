# SPDX-License-Identifier: Apache-2.0
"""Clocks of one Python process's own: as `sitecustomize` in a directory on its PYTHONPATH.

Two files beside this one say how they differ from the machine's, and are read again when they have changed:

- `offset`: seconds, such as `-45`, by which the wall clock is off (`time.time`, `time.time_ns`);
- `lag`: nanoseconds for which the steady clocks have stood still (`time.monotonic`, `time.clock_gettime` of
  CLOCK_MONOTONIC and CLOCK_BOOTTIME), as in a virtual machine that its host paused.

TLS, and files, go by the machine's clock.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

_time_ns: Final = time.time_ns
_monotonic_ns: Final = time.monotonic_ns
_clock_gettime_ns: Final = time.clock_gettime_ns
_STEADY: Final = frozenset({time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME})


class _Number:
    """Number in a file, times `unit`; 0 while there is none."""

    def __init__(self, name: str, unit: int) -> None:
        self._file, self._unit = Path(__file__).with_name(name), unit
        self._stamp, self._value = -1, 0

    def __call__(self) -> int:
        try:
            stamp = self._file.stat().st_mtime_ns
            if stamp != self._stamp:
                self._value, self._stamp = int(self._file.read_text()) * self._unit, stamp
        except (OSError, ValueError):
            pass  # replaced at this very moment: the next call sees it
        return self._value


_offset: Final = _Number("offset", 1_000_000_000)
_lag: Final = _Number("lag", 1)


def wall_ns() -> int:
    """Replaces `time.time_ns`."""
    return _time_ns() + _offset()


def wall() -> float:
    """Replaces `time.time`."""
    return wall_ns() / 1e9


def steady_ns() -> int:
    """Replaces `time.monotonic_ns`."""
    return _monotonic_ns() - _lag()


def steady() -> float:
    """Replaces `time.monotonic`."""
    return steady_ns() / 1e9


def gettime_ns(clock: int, /) -> int:
    """Replaces `time.clock_gettime_ns`."""
    return _clock_gettime_ns(clock) - (_lag() if clock in _STEADY else 0)


def gettime(clock: int, /) -> float:
    """Replaces `time.clock_gettime`."""
    return gettime_ns(clock) / 1e9


if __name__ == "sitecustomize":
    time.time_ns, time.time = wall_ns, wall
    time.monotonic_ns, time.monotonic = steady_ns, steady
    time.clock_gettime_ns, time.clock_gettime = gettime_ns, gettime
