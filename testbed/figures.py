"""Figures of many values: percentiles, and latencies summed up. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

import msgspec


def percentile(rising: Sequence[float], percent: float) -> float:
    """Nearest rank: the smallest value that so many per cent do not exceed; 0 of nothing."""
    if not rising:
        return 0.0
    return rising[max(0, math.ceil(round(len(rising) * percent / 100, 9)) - 1)]


class Latency(msgspec.Struct):
    """Seconds that requests took."""

    count: int
    p50: float
    p99: float
    p999: float
    worst: float


def latency(took: Iterable[float]) -> Latency:
    """Sums the times up."""
    rising = sorted(took)
    return Latency(len(rising), *(percentile(rising, percent) for percent in (50, 99, 99.9, 100)))


def spread(values: Sequence[float], digits: int = 1) -> str:
    """`median (smallest … largest)`."""
    if not values:
        return "—"
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f} … {max(values):.{digits}f})"
