# SPDX-License-Identifier: Apache-2.0
"""Matching of operations with lines of the record, with the time in which each line was written.

The record is a witness: one order of all commands. What a client was told restricts where in real time each
line can stand: not before the request was sent, not after it was answered.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from itertools import accumulate

from chaos.history import History, Key
from testbed.workload.operations import Operation
from tmr.ledger.record import Line

GRANTS = frozenset({"granted", "emergency"})
ENDS = frozenset({"released", "expired", "ended", "replaced", "unqueued"})

OPERATOR = "operator"
"""The client that gives back, in the end, what nobody knows of; also how the record calls it."""

Places = dict[str, list[int]]
"""Session or borrowing → places of its lines in the record."""


class Matching:
    """The lines by what they are about; `by`: place → the operation whose trace the line is, where known."""

    def __init__(self, history: History) -> None:
        self.history, self.lines = history, history.lines
        self.granted = self._places(GRANTS)
        self.queued = self._places({"queued"})
        self.ended = self._places(ENDS)
        self.borrowed = self._places({"borrowed"})
        self.returned = self._places({"returned"})
        self.units = self._places({"units"})
        self.by: dict[int, Operation] = {}
        self._lower = [-math.inf] * len(self.lines)
        self._upper = [math.inf] * len(self.lines)
        self.left = self._remaining()
        self._match()

    def _places(self, events: Iterable[str]) -> Places:
        found, wanted = defaultdict(list), frozenset(events)
        for place, line in enumerate(self.lines):
            if line.event in wanted:
                found[line.id].append(place)
        return dict(found)

    def _remaining(self) -> dict[int, int]:
        """Place of each line about units → units that were left after it."""
        left = {key: one.units_before for key, one in self.history.licences.items()}
        found = {}
        for place, line in enumerate(self.lines):
            before = left.get(key := key_of(line))
            if line.event == "units" and before is not None:
                left[key] = found[place] = before - line.units
        return found

    @cached_property
    def keys(self) -> dict[tuple[str, str, str], list[Operation]]:
        """Operations of one idempotency key, in their order; only those that have one."""
        found: dict[tuple[str, str, str], list[Operation]] = defaultdict(list)
        for operation in self.history.operations:
            if operation.key:
                found[operation.client, operation.verb, operation.key].append(operation)
        return dict(found)

    # -- when ------------------------------------------------------------------------------------------------

    def _match(self) -> None:
        first: dict[tuple[str, str], float] = {}
        taken: set[int] = set()
        for operation in self.history.operations:
            same = operation.key or operation.session
            sent = first.setdefault((operation.verb, same), operation.sent) if same else operation.sent
            for place in self._trace(operation, taken):
                taken.add(place)
                self.by.setdefault(place, operation)
                self._lower[place] = max(self._lower[place], sent)
                if operation.answered is not None:
                    self._upper[place] = min(self._upper[place], operation.answered)

    def _trace(self, operation: Operation, taken: set[int]) -> list[int]:
        session = operation.session
        match operation.outcome:
            case "granted":
                return self.granted.get(session, [])
            case "waiting":
                return self.queued.get(session, [])
            case "borrowed":
                return self.borrowed.get(session, [])
            case "freed":
                places = self.ended.get(session, [])
                return [place for place in places if self.lines[place].event in ("released", "unqueued")]
            case "returned":
                reason = OPERATOR if operation.client == OPERATOR else "release"
                return [p for p in self.returned.get(session, []) if self.lines[p].reason == reason]
            case "consumed":
                return self.takings(operation, taken)[:1]
        return []

    def takings(self, operation: Operation, taken: set[int]) -> list[int]:
        """Lines that show the units of a consume as taken, of those that no other one has claimed."""
        return [
            place
            for place in self.units.get(operation.session, [])
            if place not in taken
            and self.lines[place].units == operation.units
            and operation.remaining in (None, self.left.get(place))
        ]

    @cached_property
    def not_before(self) -> list[float]:
        """For each line: it was written after this moment, since it follows what was asked only then."""
        return list(accumulate(self._lower, max))

    @cached_property
    def not_after(self) -> list[float]:
        """For each line: it was written before this moment, since what follows it was answered by then."""
        return list(accumulate(reversed(self._upper), min))[::-1]

    def span(self, place: int) -> tuple[float, float]:
        """Times at which the operation itself was sent first, and was answered."""
        return self._lower[place], self._upper[place]


def key_of(line: Line) -> Key:
    """The licence that a line is about."""
    return line.product_code, line.tmr_id or 0
