# SPDX-License-Identifier: Apache-2.0
"""Figures of a campaign, for its report."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass

from chaos.history import History, Key, over
from chaos.records import Fault
from chaos.rules.availability import Outage, outages, unexcused
from chaos.rules.excuses import Bounds, Excuse, excuses
from chaos.rules.intervals import common, union
from chaos.rules.twins import terms
from testbed.figures import percentile

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


@dataclass(frozen=True)
class Latency:
    """Seconds until an answer, of one verb; `percentiles` are those of `PERCENTILES`."""

    verb: str
    outcomes: dict[str, int]
    """Outcome → number; "unanswered" for those without."""
    retried: int
    percentiles: tuple[float, ...]
    longest: float

    @property
    def count(self) -> int:
        return sum(self.outcomes.values())


@dataclass(frozen=True)
class Effect:
    """Effect of one fault until the next one struck; `gap`: seconds of its longest outage."""

    fault: Fault
    gap: float
    unanswered: int
    retried: int
    terms: tuple[tuple[str, int], ...]
    excused: str


@dataclass(frozen=True)
class Findings:
    """All figures. Times are seconds since the campaign began."""

    history: History
    verbs: tuple[Latency, ...]
    effects: tuple[Effect, ...]
    outages: tuple[Outage, ...]
    excuses: tuple[Excuse, ...]
    terms: tuple[tuple[float, str, int], ...]
    kinds: dict[str, int]
    most: dict[Key, int]
    """For each licence the most seats that clients held at one time."""
    units: dict[Key, int]
    """For each licence with a Unit Counter by how much it fell."""
    excused: float
    """Seconds of the campaign in which requests could remain unanswered."""
    silent: float
    """Seconds in which requests waited and none was answered."""
    bounds: Bounds
    unexcused: int
    """Requests whose clients gave up sooner than the bound, at a time without excuse."""


def findings(history: History, most: dict[Key, int]) -> Findings:
    """The figures of a history; `most` is what the rule about seats found."""
    gaps, reasons, new = outages(history), excuses(history), terms(history)
    windows = union((one.begin, one.end) for one in reasons)
    return Findings(
        history,
        tuple(_latencies(history)),
        tuple(_effects(history, gaps, reasons, new)),
        tuple(sorted(gaps, key=lambda one: -one.seconds)),
        tuple(reasons),
        tuple(new),
        dict(Counter(fault.kind for fault in history.faults).most_common()),
        most,
        {
            key: one.units_before - one.units_after
            for key, one in history.licences.items()
            if one.units_before is not None and one.units_after is not None
        },
        common(windows, 0.0, history.end),
        sum(one.seconds for one in gaps),
        Bounds(history.campaign.ttl),
        len(unexcused(history)),
    )


def _latencies(history: History) -> list[Latency]:
    times: dict[str, list[float]] = defaultdict(list)
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    retried: Counter[str] = Counter()
    for operation in history.operations:
        outcomes[operation.verb][operation.outcome or "unanswered"] += 1
        retried[operation.verb] += operation.tries > 1
        if operation.answered is not None:
            times[operation.verb].append(operation.answered - operation.sent)
    found = []
    for verb, counted in sorted(outcomes.items()):
        rising = sorted(times[verb])
        found.append(
            Latency(
                verb,
                dict(counted.most_common()),
                retried[verb],
                tuple(percentile(rising, percent) for percent in PERCENTILES),
                rising[-1] if rising else 0.0,
            )
        )
    return found


def _effects(
    history: History, gaps: list[Outage], reasons: list[Excuse], new: list[tuple[float, str, int]]
) -> list[Effect]:
    found = []
    done = sorted(history.operations, key=lambda one: over(one, history))
    ends = [over(one, history) for one in done]
    for number, fault in enumerate(history.faults):
        following = history.faults[number + 1].began if number + 1 < len(history.faults) else history.end
        begin, end = fault.began, max(following, fault.began)
        waited = done[bisect_left(ends, begin) : bisect_left(ends, end)]
        found.append(
            Effect(
                fault,
                max((one.seconds for one in gaps if one.fault is fault), default=0.0),
                sum(1 for one in waited if one.answered is None),
                sum(1 for one in waited if one.tries > 1),
                tuple((twin, epoch) for at, twin, epoch in new if begin <= at < end and at > new[0][0]),
                next((one.why for one in reasons if begin <= one.begin < end), ""),
            )
        )
    return found
