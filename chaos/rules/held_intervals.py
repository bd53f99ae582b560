# SPDX-License-Identifier: Apache-2.0
"""Intervals in which clients surely believed to hold a seat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from chaos.history import History, Key
from chaos.rules.intervals import union
from testbed.workload.operations import Operation

Span = tuple[float, float]


@dataclass(frozen=True)
class HeldInterval:
    """A session or borrowing as its client knows it. `spans`: when the client surely believed to hold it.

    A span begins with an answer that says so, and ends when that answer's time to live is over, when the
    client sends that it gives back, or when it is told that the session is gone.
    """

    grant: Operation
    key: Key
    spans: tuple[Span, ...]
    promised: float
    """Until when it has to live: the latest time that an answer named, or when it was asked to give it back.

    There is no gap before: an answer that a session is alive says that it has not ended until then.
    """


def held_intervals(history: History) -> list[HeldInterval]:
    """One for each session and borrowing that was acknowledged, in the order of their requests."""
    by_session: dict[str, list[Operation]] = defaultdict(list)
    grants: dict[str, Operation] = {}
    for operation in history.operations:
        if operation.session:
            by_session[operation.session].append(operation)
            if operation.outcome in ("granted", "borrowed"):
                grants.setdefault(operation.session, operation)
    return [_held_interval(grant, by_session[session]) for session, grant in grants.items()]


def _held_interval(grant: Operation, operations: list[Operation]) -> HeldInterval:
    promised = [
        (one.answered, one.valid_until)
        for one in operations
        if one.answered is not None and one.valid_until is not None and one.answered < one.valid_until
    ]
    given_back = min(
        (one.sent for one in operations if one.verb in ("release", "return")), default=float("inf")
    )
    gone = min(
        (one.answered for one in operations if one.outcome == "gone" and one.answered is not None),
        default=float("inf"),
    )
    return HeldInterval(
        grant,
        (grant.product, grant.tmr_id),
        _cut(union(promised), min(given_back, gone)),
        min(given_back, max((until for _, until in promised), default=grant.sent)),
    )


def _cut(spans: Sequence[Span], end: float) -> tuple[Span, ...]:
    return tuple((first, min(last, end)) for first, last in spans if first < end)
