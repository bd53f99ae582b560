# SPDX-License-Identifier: Apache-2.0
"""From what the prober wrote to the pause that a client sees. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec


class Attempt(msgspec.Struct, frozen=True):
    """One TCP connection that was asked for. Nanoseconds of CLOCK_BOOTTIME; `outcome`: `ok`, or why not."""

    began_ns: int
    ended_ns: int
    outcome: str

    @property
    def answered(self) -> bool:
        """There was a connection."""
        return self.outcome == "ok"


class Pause(msgspec.Struct, frozen=True):
    """The longest time around an event in which no attempt succeeded. Nanoseconds of CLOCK_BOOTTIME."""

    from_ns: int
    """End of the last success before it …"""
    to_ns: int
    """… and of the first one after it."""
    held_up_ns: int
    """Longest time meanwhile in which the prober itself began no attempt."""
    outcomes: dict[str, int]
    """Number of failed attempts that ended meanwhile, by reason."""

    @property
    def ms(self) -> float:
        """Its length in milliseconds."""
        return (self.to_ns - self.from_ns) / 1e6


def read(lines: Iterable[str]) -> list[Attempt]:
    """The prober's lines; a last one that is still being written is left out."""
    return [
        Attempt(int(words[0]), int(words[1]), words[2])
        for line in lines
        if line.endswith("\n") and len(words := line.split()) == 3
    ]


def pause(attempts: Sequence[Attempt], since_ns: int) -> Pause | None:
    """The longest pause that was not over when the event began at `since_ns`. None: no success since then."""
    ends = sorted(attempt.ended_ns for attempt in attempts if attempt.answered)
    around = [(before, after) for before, after in pairwise(ends) if after >= since_ns]
    if not around:
        return None
    start, end = max(around, key=lambda two: two[1] - two[0])
    begun = sorted(attempt.began_ns for attempt in attempts if start <= attempt.began_ns <= end)
    failed = [
        attempt.outcome for attempt in attempts if not attempt.answered and start <= attempt.ended_ns <= end
    ]
    return Pause(
        from_ns=start,
        to_ns=end,
        held_up_ns=max((after - before for before, after in pairwise([start, *begun])), default=end - start),
        outcomes={outcome: failed.count(outcome) for outcome in sorted(set(failed))},
    )


def steady(attempts: Sequence[Attempt], since_ns: int, for_ns: int) -> bool:
    """True if all attempts of the last `for_ns` succeeded, and all of them began after `since_ns`."""
    if not attempts:
        return False
    start = max(attempt.began_ns for attempt in attempts) - for_ns
    last = [attempt for attempt in attempts if attempt.began_ns >= start]
    return start >= since_ns and all(attempt.answered for attempt in last)
