# SPDX-License-Identifier: Apache-2.0
"""Sets of intervals of time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

Interval = tuple[float, float]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same points, in intervals that rise and do not touch."""
    found: list[Interval] = []
    for begin, end in sorted(one for one in intervals if one[0] <= one[1]):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def common(intervals: Sequence[Interval], begin: float, end: float) -> float:
    """Length of the part of [begin, end] in intervals that rise and are disjoint."""
    return sum(min(end, last) - max(begin, first) for first, last in _near(intervals, begin, end))


def touches(intervals: Sequence[Interval], begin: float, end: float) -> bool:
    """True if [begin, end] and any of the intervals, which rise and are disjoint, have a point in common."""
    return bool(_near(intervals, begin, end))


def _near(intervals: Sequence[Interval], begin: float, end: float) -> Sequence[Interval]:
    first = bisect_left(intervals, begin, key=lambda one: one[1])
    return intervals[first : bisect_right(intervals, end, key=lambda one: one[0])]


def at_least(several: Sequence[Sequence[Interval]], number: int) -> list[Interval]:
    """Intervals in which at least `number` of the sets hold; each set is disjoint."""
    steps = sorted(
        [(begin, 1) for one in several for begin, _ in one] + [(end, -1) for one in several for _, end in one]
    )
    found: list[Interval] = []
    depth, began = 0, 0.0
    for at, step in steps:
        if depth < number <= depth + step:
            began = at
        if depth + step < number <= depth:
            found.append((began, at))
        depth += step
    return union(found)
