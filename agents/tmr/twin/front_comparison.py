# SPDX-License-Identifier: Apache-2.0
"""Hand-over because of the front network: the other twin sees it, and this twin does not.

Each twin tells the upstreams how much it sees, and hears how much the other twin sees (`twin_reports`). The
decision is a plain function of both and the time.
"""

from typing import Final

UNKNOWN: Final = 0
"""Not watched, or not told."""
UNABLE: Final = 1
"""The twin could not hold the address: no carrier, or no tmr-vip."""
NOTHING: Final = 2
"""It hears no other machine on the front network."""
TRAFFIC: Final = 3
"""It hears others; no target answers it."""
TARGET: Final = 4
"""A target answers it."""

PATIENCE: Final = 1.5
"""Seconds for which the other twin must see more: news of a target that all lose reach it within that."""
PAUSE: Final = 30.0
"""Seconds without another such hand-over: whatever is wrong with the network, it does not flap."""


class FrontComparison:
    """Decides when to hand over. If no twin sees anything, or a view is not known, it does not."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._not_before = float("-inf")

    def hand_over(self, now: float, own: int, other: int) -> bool:
        """True when the other twin has seen more than this twin for long enough. Call often."""
        if not NOTHING <= own < other:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        if now - self._since < PATIENCE or now < self._not_before:
            return False
        self._since, self._not_before = None, now + PAUSE
        return True
