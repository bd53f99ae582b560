# SPDX-License-Identifier: Apache-2.0
"""Figures of many values: percentiles, and latencies summed up. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

T = TypeVar("T")


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


def median(runs: Iterable[T], value: Callable[[T], float]) -> float:
    """Of one figure over several runs."""
    return statistics.median(map(value, runs))


def half_spread(runs: Iterable[T], value: Callable[[T], float]) -> float:
    """Half the distance of the largest and the smallest, in percent of the median."""
    found = sorted(map(value, runs))
    middle = statistics.median(found)
    return 50 * (found[-1] - found[0]) / middle if middle else 0.0


def spread(values: Sequence[float], digits: int = 1) -> str:
    """`median (smallest … largest)`."""
    if not values:
        return "—"
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f} … {max(values):.{digits}f})"
