# SPDX-License-Identifier: Apache-2.0
"""Requests are unanswered or late only while there is an excuse for it (`excuses`)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from chaos.history import History, name, over
from chaos.records import Fault
from chaos.rules.excuses import Bounds, Excuse, excuses
from chaos.rules.finding import Proof
from chaos.rules.intervals import common, touches, union
from testbed.workload.operations import Operation


@dataclass(frozen=True)
class Outage:
    """Somebody waited and nobody was answered, from `begin` to `end`.

    `fault`: the one that had struck last when it began; `why`: what excuses it, or empty.
    """

    begin: float
    end: float
    waiting: int
    fault: Fault | None
    why: str

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def check(history: History) -> Proof:
    """Every operation is answered within the bound, not counting excused time."""
    bounds = Bounds(history.campaign.ttl)
    windows = union((one.begin, one.end) for one in excuses(history))
    proof = Proof(
        "availability",
        f"Outside excused windows every request is answered within {bounds.answer:g} s",
    )
    for operation in history.operations:
        proof.facts += 1
        end = over(operation, history)
        late = end - operation.sent - common(windows, operation.sent, end)
        if late > bounds.answer:
            what = "took" if operation.answered is not None else "was not answered for"
            proof.violated(
                end,
                f"{name(operation)} {what} {end - operation.sent:.1f} s, {late:.1f} s of them "
                f"while two upstreams and a twin lived; the bound is {bounds.answer:g} s",
            )
    return proof


def unexcused(history: History) -> list[Operation]:
    """Operations whose clients gave up, within the bound, without any excuse for the silence."""
    windows = union((one.begin, one.end) for one in excuses(history))
    return [
        one
        for one in history.operations
        if one.answered is None and not touches(windows, one.sent, over(one, history))
    ]


def outages(history: History) -> list[Outage]:
    """All gaps of more than half a lease in which requests waited and none was answered, in their order."""
    reasons = excuses(history)
    answered = sorted(one.answered for one in history.operations if one.answered is not None)
    shortest = history.campaign.ttl / 2
    found, waiting, asked = [], list[Operation](), 0
    for begin, end in pairwise([0.0, *answered, history.end]):
        if end - begin <= shortest:
            continue
        while asked < len(history.operations) and history.operations[asked].sent < end:
            waiting.append(history.operations[asked])
            asked += 1
        waiting = [one for one in waiting if over(one, history) > begin]
        first = max(begin, min((one.sent for one in waiting), default=end))
        if end - first > shortest:
            found.append(_outage(history, reasons, first, end, len(waiting)))
    return found


def _outage(history: History, reasons: list[Excuse], begin: float, end: float, waiting: int) -> Outage:
    # The last answer may have come a little before the fault struck, which begins the gap.
    latest = begin + history.campaign.ttl / 2
    struck = [fault for fault in history.faults if fault.began <= latest]
    within = [one for one in reasons if one.begin <= end and begin <= one.end]
    at_first = [one for one in within if one.begin <= latest] or within[:1]
    why = max(at_first, key=lambda one: (one.begin, one.end)).why if at_first else ""
    return Outage(begin, end, waiting, struck[-1] if struck else None, why)
