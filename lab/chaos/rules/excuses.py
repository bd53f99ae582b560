"""When the system may be silent: while two upstreams or both twins are down, and until leases run out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.chaos.history import History
from lab.chaos.records import Fault, Sample
from lab.chaos.rules.intervals import Interval, at_least, union

UPSTREAMS = ("up1", "up2", "up3")
TWINS = ("tmr1", "tmr2")
HARMLESS = frozenset({"clock-jump", "vip-stolen", "switchover"})
"""The machine they strike lives on."""
HANDOVERS = frozenset({"vip-stolen", "switchover"})
"""Clients do not reach a twin until they are over: the address is somebody else's, or the twin steps down."""

CLIENT_S = 4.0
"""A client that asked a dead twin waits for an answer, then connects anew: 2.5 s and 1.5 s (Policy)."""
RECOVERY_S = 60.0
"""A machine whose fault is mended counts as down until it works, but no longer: then it is a failure."""


@dataclass(frozen=True)
class Bounds:
    """What the leases promise, in seconds, for a lease of `ttl`.

    `answer`: until a request is answered while nothing is wrong. A request to an upstream may fail (TTL / 2)
    and be repeated, an answer may be lost, and all machines of a lab may share two processors.
    `takeover`: from the loss of the active twin until the other one answers. The lease runs out (TTL), the
    other one notices, probes, asks, and commits its reign (each within TTL / 2), the client notices
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
    grace = Bounds(history.campaign.ttl).takeover
    down = downtimes(history)
    few = at_least([down[name] for name in UPSTREAMS], 2)
    none = at_least([down[name] for name in TWINS], 2)
    found = [Excuse(begin, end + grace, "fewer than two upstreams") for begin, end in few]
    found += [Excuse(begin, end + grace, "no twin") for begin, end in none]
    found += _handovers(history, grace)
    return sorted(found, key=lambda one: (one.begin, one.end))


def _handovers(history: History, grace: float) -> Iterator[Excuse]:
    for fault in history.faults:
        if fault.kind in HANDOVERS:
            yield Excuse(fault.began, _ended(fault, history) + grace, fault.kind)
        elif fault.kind not in HARMLESS and (struck := set(fault.machines) & active(history, fault.began)):
            yield Excuse(fault.began, fault.began + grace, f"{fault.kind} of {min(struck)}, the active twin")


def active(history: History, at: float) -> set[str]:
    """The twin that was last seen to serve before `at`, or has begun to serve within the next look."""
    found: set[str] = set()
    for moment, machines in history.looks:
        serving = {name for name, sample in machines.items() if sample.serving}
        if serving:
            if moment > at:
                return found or serving
            found = serving
    return found


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
    """When a machine was first seen to work after a fault; a lease later the others have noticed, too."""
    ended = _ended(fault, history)
    latest = min(ended + RECOVERY_S, max(history.end, ended))
    for moment, machines in history.looks:
        if ended < moment <= latest and machine in machines and _works(machines[machine]):
            return moment + history.campaign.ttl
    return latest


def _works(sample: Sample) -> bool:
    return sample.state == "on" and (sample.voting is True or sample.role in ("active", "passive"))


def _ended(fault: Fault, history: History) -> float:
    return history.end if fault.ended is None else fault.ended
