# SPDX-License-Identifier: Apache-2.0
"""A machine's clocks: a monotonic one whose rate changes within the bound, and a wall clock that may jump."""

import copy
import random

from tmr.quorum.lease import DRIFT

EPOCH_OF_WALL_CLOCKS = 1_800_000_000_000
"""True time 0 as an honest wall clock shows it, Unix milliseconds."""


class Clock:
    """Readings for true times in seconds. The monotonic clock goes on while its machine is off."""

    def __init__(self, rnd: random.Random) -> None:
        self.rate = 1 + rnd.choice([-1, 1, rnd.uniform(-1, 1)]) * DRIFT
        self._base = rnd.uniform(0, 1e5)
        self._since = 0.0
        self.wall_skew_ms = 0.0
        self.set_ms = 0.0
        """By how much it was set forward, as the others were."""
        self.synchronised = False
        """The machine says that a time source keeps its wall clock."""
        self._stopped: float | None = None

    def monotonic(self, true: float) -> float:
        """Seconds; no two machines' readings can be compared."""
        true = true if self._stopped is None else self._stopped
        return self._base + (true - self._since) * self.rate

    def copy(self, true: float) -> "Clock":
        """A clock that shows the same, and goes on by itself, also where this one stands still."""
        made = copy.copy(self)
        made.go_on(true)
        return made

    def put_back(self, true: float, reading: float) -> None:
        """The machine goes on from a moment when its monotonic clock showed this."""
        self._base, self._since = reading, true

    def stop(self, true: float) -> None:
        """The host pauses the machine: both clocks stand still."""
        if self._stopped is None:
            self._stopped = true

    def go_on(self, true: float) -> None:
        """The host lets it go on. Nobody tells its clocks how long it was."""
        if self._stopped is not None:
            lost, self._stopped = true - self._stopped, None
            self._since += lost
            self.wall_skew_ms -= lost * 1000

    def drift(self, true: float, rate: float) -> None:
        """From now on it goes at `rate` seconds a second."""
        at = true if self._stopped is None else self._stopped
        self._base, self._since, self.rate = self.monotonic(at), at, rate

    def wall_ms(self, true: float) -> int:
        """Unix milliseconds, right or wrong."""
        true = true if self._stopped is None else self._stopped
        return round(EPOCH_OF_WALL_CLOCKS + true * 1000 + self.wall_skew_ms + self.set_ms)
