# SPDX-License-Identifier: Apache-2.0
"""Clock of a twin that goes no faster than the median replica's, however fast its own clock is. Pure.

A clock that runs fast shortens leases, which is safe; it would also end sessions before their clients think
so, and licences before their end. Each answer bounds the lead of the twin's own clock over a replica's: the
replica read its clock after the question was sent and before the answer came. The lead that two replicas
prove is subtracted. A clock that runs slow, or stands still, is found by `tmr.quorum.pause`.
"""

import math
from typing import Final

import msgspec

from tmr.quorum.lease import DRIFT
from tmr.quorum.majority import is_majority, reached

WATCH: Final = 60.0
"""Seconds in which the own clock must get ahead by FAST and what drift allows, to be told as fast."""
FAST: Final = 1.0
"""Seconds."""


class _Seen(msgspec.Struct):
    sent_at: float
    """Time at which the question was sent whose answer this is from, by the own clock."""
    reading: float
    most: float
    """The least of the upper bounds found so far on how far the steady clock was ahead of this one."""
    over: float = 0.0
    """By how much it certainly is further ahead than that."""


class SteadyClock:
    """Seconds by the own clock, less what two replicas prove it to be ahead.

    A server that is alone observes nothing, and goes by its own clock.
    """

    def __init__(self) -> None:
        self.ahead = 0.0
        """Seconds by which the own clock has run ahead so far."""
        self.fast_at = float("-inf")
        """Time at which the own clock was last seen to run faster than drift allows."""
        self.fast_by = 0.0
        """Seconds that it got ahead then, within WATCH."""
        self._seen: dict[int, _Seen] = {}
        self._watched = float("-inf"), 0.0
        """A moment by the own clock, and `ahead` then."""

    def read(self, now: float) -> float:
        """The steady time; `now` is the own clock's."""
        return now - self.ahead

    def proven(self, now: float) -> float:
        """The latest steady time that two replicas' clocks confirm: the own clock may have run since then."""
        if not self._seen:
            return now
        return reached((one.sent_at for one in self._seen.values()), -math.inf) - self.ahead

    def observe(self, replica: int, reading: float, sent_at: float, now: float) -> None:
        """Note what the clock of this replica showed in an answer.

        The question was sent at `sent_at`, the answer came at `now`, both by the own clock.
        """
        known = self._seen.get(replica)
        if known is not None and sent_at < known.sent_at:
            return
        most = now - self.ahead - reading
        if known is None or reading < known.reading:  # another machine, or one that was started again
            self._seen[replica] = _Seen(sent_at, reading, most)
            return
        over = max(0.0, sent_at - self.ahead - reading - known.most)
        self._seen[replica] = _Seen(sent_at, reading, min(most, known.most), over)
        self._take_off(now)

    def _take_off(self, now: float) -> None:
        if not is_majority(self._seen):
            return
        proved = reached((one.over for one in self._seen.values()), 0.0)
        if proved:
            self.ahead += proved
            for one in self._seen.values():
                one.over = max(0.0, one.over - proved)
        self._watch(now)

    def _watch(self, now: float) -> None:
        since, before = self._watched
        gained = self.ahead - before
        if now - since < WATCH and gained <= FAST + 4 * DRIFT * (now - since):
            return
        if now - since < WATCH:
            self.fast_at, self.fast_by = now, gained
        self._watched = now, self.ahead
