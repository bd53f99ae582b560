# SPDX-License-Identifier: Apache-2.0
"""Certified time: one wall clock made of three, for expiry dates.

A jump of more than JUMP_MS beyond what the journal and the monotonic clock know waits: until two clocks that
agree are synchronised with a time source, or an operator accepts it. Until then time goes on by the monotonic
clock, and `waits` has what the clocks show.

Pure: fed with what the replicas' clocks said and with the twin's steady clock, in milliseconds.
"""

from collections.abc import Callable
from typing import TypeGuard

from tmr.quorum.majority import MAJORITY, is_majority

AGREE_MS = 120_000
"""Two clocks that differ by less confirm one another."""
STEP = 0.02
"""Each step follows the monotonic clock within this fraction."""
JUMP_MS = 86_400_000
"""Certified time goes forward by more than this at once only for a reason."""
ACCEPTED_MS = 600_000
"""Bound on the distance of the time that an operator accepts from what the clocks show."""
ALARM_MS = 5_000
"""A clock further from certified time than this raises an alarm."""
FRESH_MS = 5_000
"""An observation older than this no longer counts in a term: that clock may have been set since."""
FOLLOWING_FRESH_MS = 60_000
"""The same for a passive twin, which hears less of them."""


def _near(waits: int | None, time_ms: int) -> TypeGuard[int]:
    """A time waits to be accepted, and is near the time that the operator saw."""
    return waits is not None and abs(waits - time_ms) <= ACCEPTED_MS


class OwnClock:
    """The time of a server with one clock only: its own wall clock, which never runs backwards here.

    A clock set forward is followed at once, by more than JUMP_MS only if it is synchronised or accepted: no
    other clock can confirm it. If it was set back, time goes on by the monotonic clock, slower by STEP, until
    the wall clock has caught up: time must not stand still, because then no licence would expire.
    """

    def __init__(self) -> None:
        self._value = 0.0
        self._at: float | None = None
        self.waits: int | None = None
        """Time that the wall clock shows, if certified time does not follow it; as of the last reading."""

    def read(
        self, wall_ms: int, now_ms: float, floor_ms: int, synchronised: Callable[[], bool | None] = bool
    ) -> int:
        """Time at monotonic `now_ms`, Unix milliseconds, not before `floor_ms`, the journal's last entry.

        `synchronised()`: a time source keeps the wall clock.
        """
        elapsed = 0.0 if self._at is None else max(0.0, now_ms - self._at)
        known = max(self._value + elapsed, float(floor_ms))
        low = max(self._value + elapsed * (1 - STEP), float(floor_ms))
        jumps = known > 0 and wall_ms - known > JUMP_MS
        self.waits = wall_ms if jumps and not synchronised() else None
        self._value = low if self.waits is not None else max(float(wall_ms), low)
        self._at = now_ms
        return int(self._value)

    def accept(self, time_ms: int) -> bool:
        """Time goes on from what the wall clock shows, if that waits and is near `time_ms`."""
        if not _near(self.waits, time_ms):
            return False
        self._value, self.waits = float(self.waits), None
        return True

    def behind_ms(self, wall_ms: int) -> int:
        """By how much the wall clock lags behind what was read last, if that is worth an alarm, else 0."""
        lag = int(self._value) - wall_ms
        return lag if lag > ALARM_MS else 0


class CertifiedClock:
    """Median of the replicas' wall clocks, if one of the others confirms it; never runs backwards.

    One wrong clock changes nothing. Clocks that are wrong in different ways confirm none: time goes on by the
    monotonic clock until two agree. Clocks that are wrong alike are followed within JUMP_MS.
    """

    def __init__(self) -> None:
        self._offsets: dict[str, tuple[float, float, bool]] = {}
        self.end_term()

    def begin_term(self) -> None:
        """Time may step forward once, to what the replicas agree on."""
        self._start(FRESH_MS)

    def end_term(self) -> None:
        """The term ends: certified time is only shown from now on."""
        self._start(FOLLOWING_FRESH_MS)

    def _start(self, fresh_ms: int) -> None:
        self._fresh_ms = fresh_ms
        self._value: float | None = None
        self._at = 0.0
        self._anchored = False
        self._new = False
        """The journal had no time when this began: any is as good as another."""
        self.waits: int | None = None
        """Time that the clocks show, Unix milliseconds, if certified time does not follow them; as of the
        last reading.
        """

    def observe(self, replica: str, wall_ms: int, now_ms: float, synchronised: bool | None = None) -> None:
        """Note that `replica`'s wall clock showed `wall_ms` at monotonic `now_ms`.

        `synchronised`: a time source keeps it.
        """
        self._offsets[replica] = (wall_ms - now_ms, now_ms, bool(synchronised))

    def _fresh(self, now_ms: float) -> dict[str, float]:
        """Observations that still count."""
        return {
            name: offset for name, (offset, at, _) in self._offsets.items() if now_ms - at <= self._fresh_ms
        }

    def _synchronised(self, agreed: float, now_ms: float) -> int:
        """Number of clocks that agree with `agreed` and that a time source keeps."""
        fresh = self._fresh(now_ms)
        return sum(
            self._offsets[name][2] and abs(offset + now_ms - agreed) <= AGREE_MS
            for name, offset in fresh.items()
        )

    def doubtful(self, agreed: float, known: float, now_ms: float) -> bool:
        """The clocks agree on a time that is too far beyond the known time to count unconfirmed."""
        return agreed - known > JUMP_MS and self._synchronised(agreed, now_ms) < MAJORITY

    def _agreed(self, now_ms: float) -> float | None:
        """The median, of two the earlier: if another clock confirms it."""
        fresh = sorted(self._fresh(now_ms).values())
        if not is_majority(fresh):
            return None
        middle = (len(fresh) - 1) // 2
        others = fresh[:middle] + fresh[middle + 1 :]
        confirmed = any(abs(fresh[middle] - other) <= AGREE_MS for other in others)
        return fresh[middle] + now_ms if confirmed else None

    def read(self, now_ms: float, floor_ms: int) -> int:
        """Certified time at monotonic `now_ms`, Unix milliseconds, not before `floor_ms`.

        `floor_ms` is the time of the journal's last entry: a new term never turns time back. 0: it has none.
        """
        self._new = self._new or (self._value is None and not floor_ms)
        agreed = self._agreed(now_ms)
        now_ms = max(now_ms, self._at)  # a steady clock falls back by what it was ahead
        elapsed = now_ms - self._at if self._value is not None else 0.0
        low = (self._value or 0.0) + elapsed * (1 - STEP)
        if self._value is None and not floor_ms and agreed is None and self._offsets:
            # Nothing is known yet. The earliest may be wrong: the step that is left mends it.
            low = min(offset for offset, _, _ in self._offsets.values()) + now_ms
        self.waits = None
        if agreed is not None and not self._anchored and not self._new:
            known = max((self._value or 0.0) + elapsed, float(floor_ms))
            if self.doubtful(agreed, known, now_ms):
                self.waits, agreed = int(agreed), None
        if agreed is None:
            value = low
            # Only shown, it may step again to what the clocks agree on, once they do.
            self._anchored = self._anchored and self._fresh_ms == FRESH_MS
        elif not self._anchored:
            value, self._anchored = max(low, agreed), True
        else:
            value = min(max(agreed, low), (self._value or 0.0) + elapsed * (1 + STEP))
        value = max(value, float(floor_ms))
        self._value, self._at = value, now_ms
        return int(value)

    def accept(self, now_ms: float, time_ms: int) -> bool:
        """Time goes on from what the clocks show, if that waits and is near `time_ms`."""
        if not _near(self.waits, time_ms):
            return False
        self._value, self._at, self._anchored = float(self.waits), now_ms, True
        self.waits = None
        return True

    def deviations(self, now_ms: float) -> dict[str, int]:
        """Replicas whose wall clock is off by more than ALARM_MS → by how many milliseconds.

        Empty while no two clocks agree: certified time then stays behind, as in an outage of the others.
        """
        if self._value is None or self._agreed(now_ms) is None:
            return {}
        true = self._value + (now_ms - self._at)
        off = {name: round(offset + now_ms - true) for name, offset in self._fresh(now_ms).items()}
        return {name: ms for name, ms in off.items() if abs(ms) > ALARM_MS}

    def unconfirmed(self, now_ms: float) -> dict[str, int]:
        """Replicas whose clocks confirm none → what each shows, Unix milliseconds; empty: two agree."""
        fresh = self._fresh(now_ms)
        if not is_majority(fresh) or self._agreed(now_ms) is not None:
            return {}
        return {name: round(offset + now_ms) for name, offset in fresh.items()}
