# SPDX-License-Identifier: Apache-2.0
"""Detection of a pause of this machine by its host, during which its clocks stood still. Pure.

The replicas' monotonic clocks are compared with the twin's own. An answer bounds the difference of the two:
the replica read its clock after the question was sent and before the answer came. So a slow network widens
the bounds and proves nothing, and a single wrong clock decides nothing.
"""

from collections.abc import Iterable

from tmr.quorum.lease import DRIFT
from tmr.quorum.majority import reached


class PauseDetector:
    """Detector of a pause: two replicas' clocks leapt ahead of the twin's own. `bound`, `window`: seconds.

    `bound`: smaller leaps count for nothing. `window`: leaps of two replicas this close are one pause.
    """

    def __init__(self, bound: float, window: float) -> None:
        self._bound = bound
        self._window = window
        self._most: dict[str, tuple[float, float]] = {}
        """Replica → the most that its clock was ahead of the twin's own, and when that was found."""
        self._leaps: dict[str, tuple[float, float]] = {}
        """Replica → when its clock leapt last, and by how much."""

    def observe(self, replica: str, reading: float, sent_at: float, now: float) -> float:
        """Note a clock's `reading` in an answer; the seconds of a pause that is proved by it, else 0.

        The question was sent at `sent_at`, the answer came at `now`, both by the twin's own clock.
        """
        known = self._most.get(replica)
        most = reading - sent_at
        if known is not None:
            allowed = known[0] + 2 * DRIFT * max(0.0, now - known[1])
            leap = (reading - now) - allowed
            if leap > self._bound:
                self._leaps[replica] = (now, leap)
            else:
                most = min(most, allowed)
        self._most[replica] = (most, now)
        leaps = [leap for at, leap in self._leaps.values() if now - at <= self._window]
        pause = reached(leaps, 0.0)
        if pause:
            self._leaps.clear()
        return pause

    def forget_all_but(self, replicas: Iterable[str]) -> None:
        """Other replicas than these are gone for good."""
        kept = set(replicas)
        self._most = {name: most for name, most in self._most.items() if name in kept}
