# SPDX-License-Identifier: Apache-2.0
"""Excuses for silence: while two upstreams or both twins are down, and until leases run out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from chaos.history import History
from chaos.plan import TWINS, UPSTREAMS
from chaos.records import Fault, Sample
from chaos.rules.intervals import Interval, at_least, union

HARMLESS = frozenset(
    {
        "clock-jump",
        "vip-stolen",
        "switchover",
        "lease-set",
        "store-lost",
        "flood",
        "rules-flushed",
        "twin-disk-full",
        "twin-clock",
    }
)
"""The machine they strike lives on, or what strikes it is written down as a fault of its own."""

CLIENT_S = 4.0
"""A client that asked a dead twin waits for an answer, then connects anew: 2.5 s and 1.5 s (Policy)."""
_LOOK_S = 0.5
RECOVERY_S = 60.0
"""A machine whose fault is mended counts as down until it works, but no longer: then it is a failure."""


@dataclass(frozen=True)
class Bounds:
    """Promises of the leases, in seconds, for a lease of `ttl`.

    `answer`: until a request is answered while nothing is wrong. A request to an upstream may fail (TTL / 2)
    and be repeated, an answer may be lost, and all machines of a lab may share two processors.
    `takeover`: from the loss of the active twin until the other one answers. The lease runs out (TTL), the
    other one notices, probes, asks, and commits its term (each within TTL / 2), the client notices
    (`CLIENT_S`).
    """

    ttl: float

    @property
    def answer(self) -> float:
        return 2 * self.ttl + CLIENT_S

    @property
    def takeover(self) -> float:
        return 3 * self.ttl + CLIENT_S


@dataclass(frozen=True)
class Excuse:
    """A window in which requests may remain unanswered, and why."""

    begin: float
    end: float
    why: str


def excuses(history: History) -> list[Excuse]:
    """All of a campaign, in their order; they may overlap."""
    down = downtimes(history)
    few = at_least([down[name] for name in UPSTREAMS], 2)
    none = at_least([down[name] for name in TWINS], 2)
    found = [Excuse(begin, _served(history, begin, end), "fewer than two upstreams") for begin, end in few]
    found += [Excuse(begin, _served(history, begin, end), "no twin") for begin, end in none]
    found += _handovers(history)
    return sorted(found, key=lambda one: (one.begin, one.end))


def _handovers(history: History) -> Iterator[Excuse]:
    for fault in history.faults:
        if fault.kind == "vip-stolen":
            end = _ended(fault, history) + Bounds(history.campaign.ttl).takeover
            yield Excuse(fault.began, end, "the address is a foreign host's")
        elif fault.kind == "switchover":
            yield Excuse(fault.began, _served(history, fault.began, fault.began), "switchover")
        elif fault.kind not in HARMLESS and (struck := active(history, fault.began) & set(fault.machines)):
            end = _served(history, fault.began, fault.began)
            yield Excuse(fault.began, end, f"{fault.kind} of {min(struck)}, the active twin")


def _served(history: History, begin: float, end: float) -> float:
    """Until when silence is excused whose cause lasted from `begin` to `end`.

    A takeover later at the latest. Sooner, if a new term was seen: then clients only have to notice. `end`
    is later than the truth by up to a lease (`_recovered`) and a look.
    """
    latest = end + Bounds(history.campaign.ttl).takeover
    since = max(begin, end - history.campaign.ttl - _LOOK_S)
    place = _after(history, since)
    before = history.served[place - 1][1] if place else 0
    for at, epoch, _ in history.served[place:]:
        if at > latest:
            break
        if epoch > before:
            return min(latest, max(end, at + CLIENT_S))
    return latest


def _after(history: History, at: float) -> int:
    """Place of the first look after `at` at which a twin served."""
    return bisect_right(history.served, at, key=lambda look: look[0])


def active(history: History, at: float) -> frozenset[str]:
    """The twin that was last seen to serve before `at`, or has begun to serve within the next look."""
    place = _after(history, at)
    return history.served[max(0, place - 1)][2] if history.served else frozenset()


def downtimes(history: History) -> dict[str, list[Interval]]:
    """For each machine when it was down: struck, and not working yet."""
    found: dict[str, list[Interval]] = {name: [] for name in (*UPSTREAMS, *TWINS)}
    for fault in history.faults:
        if fault.kind not in HARMLESS:
            for machine in fault.machines:
                if machine in found:
                    found[machine].append((fault.began, _recovered(history, fault, machine)))
    return {name: union(intervals) for name, intervals in found.items()}


def _recovered(history: History, fault: Fault, machine: str) -> float:
    """Time at which a machine was first seen to work after a fault, and a lease for the others to notice."""
    ended = _ended(fault, history)
    latest = min(ended + RECOVERY_S, max(history.end, ended))
    for moment, machines in history.looked(ended, latest):
        if machine in machines and _works(machines[machine]):
            return moment + history.campaign.ttl
    return latest


def _works(sample: Sample) -> bool:
    return sample.state == "on" and (sample.voting is True or sample.role in ("active", "passive"))


def _ended(fault: Fault, history: History) -> float:
    return history.end if fault.ended is None else fault.ended
