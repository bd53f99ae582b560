"""Certified time: one wall clock made of three, for expiry dates (DESIGN: time for expiry).

Pure: fed with what the upstreams' clocks said and with the twin's monotonic clock, in milliseconds.
"""

AGREE_MS = 120_000
"""Two clocks that differ by less confirm one another."""
STEP = 0.02
"""Each step follows the monotonic clock within this fraction."""
ALARM_MS = 5_000
"""A clock further from certified time than this raises an alarm."""
FRESH_MS = 5_000
"""An observation older than this no longer counts in a reign: that clock may have been set since."""
FOLLOWING_FRESH_MS = 60_000
"""The same for a passive twin, which hears less of them."""


class OwnClock:
    """The time of a server with one clock only: its own wall clock, which never runs backwards here.

    A clock set forward is followed at once. Where it was set back, time goes on by the monotonic clock,
    slower by STEP, until the wall clock has caught up: it must not stand, for then no licence would expire.
    """

    def __init__(self) -> None:
        self._value = 0.0
        self._at: float | None = None

    def read(self, wall_ms: int, now_ms: float, floor_ms: int) -> int:
        """Time at monotonic `now_ms`, Unix milliseconds, not before `floor_ms`, the journal's last entry."""
        elapsed = 0.0 if self._at is None else max(0.0, now_ms - self._at)
        self._value = max(float(wall_ms), self._value + elapsed * (1 - STEP), float(floor_ms))
        self._at = now_ms
        return int(self._value)

    def behind_ms(self, wall_ms: int) -> int:
        """By how much the wall clock lags behind what was read last, if that is worth an alarm, else 0."""
        lag = int(self._value) - wall_ms
        return lag if lag > ALARM_MS else 0


class CertifiedClock:
    """Median of the upstreams' wall clocks, if one of the others confirms it; never runs backwards.

    One wrong clock changes nothing. Clocks that are wrong in different ways confirm none: time goes on by the
    monotonic clock until two agree.
    """

    def __init__(self) -> None:
        self._offsets: dict[str, tuple[float, float]] = {}
        self.end_reign()

    def begin_reign(self) -> None:
        """Time may step forward once, to what the upstreams agree on."""
        self._start(FRESH_MS)

    def end_reign(self) -> None:
        """Follow: certified time is now a matter of display."""
        self._start(FOLLOWING_FRESH_MS)

    def _start(self, fresh_ms: int) -> None:
        self._fresh_ms = fresh_ms
        self._value: float | None = None
        self._at = 0.0
        self._anchored = False

    def observe(self, upstream: str, wall_ms: int, now_ms: float) -> None:
        """Note that `upstream`'s wall clock showed `wall_ms` at monotonic `now_ms`."""
        self._offsets[upstream] = (wall_ms - now_ms, now_ms)

    def _fresh(self, now_ms: float) -> dict[str, float]:
        """What counts of what was observed."""
        return {name: offset for name, (offset, at) in self._offsets.items() if now_ms - at <= self._fresh_ms}

    def _agreed(self, now_ms: float) -> float | None:
        """The median, of two the earlier: if another clock confirms it."""
        fresh = sorted(self._fresh(now_ms).values())
        if len(fresh) < 2:
            return None
        middle = (len(fresh) - 1) // 2
        others = fresh[:middle] + fresh[middle + 1 :]
        confirmed = any(abs(fresh[middle] - other) <= AGREE_MS for other in others)
        return fresh[middle] + now_ms if confirmed else None

    def read(self, now_ms: float, floor_ms: int) -> int:
        """Certified time at monotonic `now_ms`, Unix milliseconds, not before `floor_ms`.

        `floor_ms` is the time of the journal's last entry: a new reign never turns time back.
        """
        agreed = self._agreed(now_ms)
        elapsed = max(0.0, now_ms - self._at) if self._value is not None else 0.0
        low = (self._value or 0.0) + elapsed * (1 - STEP)
        if self._value is None and not floor_ms and agreed is None and self._offsets:
            # Nothing is known yet. The earliest may be wrong: the step that is left mends it.
            low = min(offset for offset, _ in self._offsets.values()) + now_ms
        if agreed is None:
            value = low
        elif not self._anchored:
            value, self._anchored = max(low, agreed), True
        else:
            value = min(max(agreed, low), (self._value or 0.0) + elapsed * (1 + STEP))
        value = max(value, float(floor_ms))
        self._value, self._at = value, now_ms
        return int(value)

    def deviations(self, now_ms: float) -> dict[str, int]:
        """Upstreams whose wall clock is off by more than ALARM_MS → by how many milliseconds."""
        if self._value is None:
            return {}
        true = self._value + (now_ms - self._at)
        off = {name: round(offset + now_ms - true) for name, offset in self._fresh(now_ms).items()}
        return {name: ms for name, ms in off.items() if abs(ms) > ALARM_MS}

    def unconfirmed(self, now_ms: float) -> dict[str, int]:
        """Upstreams whose clocks confirm none → what each shows, Unix milliseconds; empty: two agree."""
        fresh = self._fresh(now_ms)
        if len(fresh) < 2 or self._agreed(now_ms) is not None:
            return {}
        return {name: round(offset + now_ms) for name, offset in fresh.items()}
