# SPDX-License-Identifier: Apache-2.0
"""Linearizability of the clients' answers, with the record as the witness of the order.

The record is one order of all commands. It is a linearization if it respects real time (what was answered
before another was sent stands before it) and if every answer is that of the licence at its place. Answers
that change nothing (looks at a licence, refusals) need a place within their time where the licence was as
they say.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import accumulate

from chaos.history import Key, name
from chaos.rules.finding import Proof
from chaos.rules.matching import GRANTS, Matching, key_of
from chaos.rules.seats import apply
from chaos.rules.use import Use
from testbed.workload.operations import Operation

_FULL = ("no-more-licences", "exclusive-conflict")
_State = tuple[int, int, bool, int | None]
"""Number of lines before it; seats; held exclusively; units."""


def check(matching: Matching) -> Proof:
    """Real time, answers, and epochs."""
    proof = Proof("order", "The history that clients saw is linearizable; epochs never run back")
    _real_time(matching, proof)
    states = _states(matching, proof)
    _looks(matching, states, proof)
    _epochs(matching, proof)
    return proof


def _real_time(matching: Matching, proof: Proof) -> None:
    for place, operation in sorted(matching.by.items()):
        proof.facts += 1
        sent, _ = matching.span(place)
        if place + 1 < len(matching.lines) and matching.not_after[place + 1] < sent:
            later = next(
                p
                for p in range(place + 1, len(matching.lines))
                if matching.span(p)[1] == matching.not_after[place + 1]
            )
            proof.violated(
                sent,
                f"{name(operation)} stands in line {matching.lines[place].seq}, before line "
                f"{matching.lines[later].seq} of {name(matching.by[later])}, which had been answered already",
            )


def _states(matching: Matching, proof: Proof) -> dict[Key, list[_State]]:
    """Each licence after each of its lines; and the answers to grants are those of their lines."""
    uses: dict[Key, Use] = defaultdict(Use)
    units = {key: one.units_before for key, one in matching.history.licences.items()}
    states: dict[Key, list[_State]] = {key: [(0, 0, False, left)] for key, left in units.items()}
    for place, line in enumerate(matching.lines):
        key = key_of(line)
        if key not in states:
            continue
        use = uses[key]
        apply(use, line.event, line.id, line.mode, line.station)
        units[key] = matching.left.get(place, units[key])
        states[key].append((place + 1, use.seats, bool(use.alone), units[key]))
        operation = matching.by.get(place)
        if line.event in GRANTS and operation is not None and operation.outcome == "granted":
            proof.facts += 1
            licence = matching.history.licences[key]
            for what, told, is_ in (
                ("seats in use", operation.in_use, use.seats),
                ("seats", operation.quantity, licence.quantity),
                ("units remaining", operation.remaining, units[key]),
            ):
                if told is not None and told != is_:
                    proof.violated(
                        operation.answered,
                        f"{name(operation)} was told {told} {what}, there are {is_} after line {line.seq}",
                    )
    return states


class _Window:
    """Between which lines something stands that was sent and answered at certain times."""

    def __init__(self, matching: Matching) -> None:
        count = len(matching.lines)
        answered = sorted((matching.span(place)[1], place + 1) for place in range(count))
        sent = sorted((matching.span(place)[0], place) for place in range(count))
        self._answered, self._sent = [at for at, _ in answered], [at for at, _ in sent]
        self._after = list(accumulate((place for _, place in answered), max))
        self._before = list(accumulate((place for _, place in reversed(sent)), min))[::-1]
        self._count = count

    def of(self, sent: float, answered: float) -> tuple[int, int]:
        """At least, and at most, so many lines stand before it."""
        done, begun = bisect_left(self._answered, sent), bisect_right(self._sent, answered)
        return (
            self._after[done - 1] if done else 0,
            self._before[begun] if begun < len(self._before) else self._count,
        )


def _looks(matching: Matching, states: dict[Key, list[_State]], proof: Proof) -> None:
    """Reads, which also respect one another, and refusals."""
    window = _Window(matching)
    seen: list[tuple[float, int]] = []  # answered, lines before it; both rising
    reads = [one for one in matching.history.operations if one.answered is not None and _key(one, states)]
    for operation in sorted(reads, key=lambda one: one.answered or 0.0):
        answered, key = operation.answered or 0.0, _key(operation, states)
        assert key is not None  # noqa: S101 - for the type checker: it was filtered by it
        licence = matching.history.licences[key]
        proof.facts += 1
        least, most = window.of(operation.sent, answered)
        if operation.verb == "read":
            earlier = bisect_left(seen, (operation.sent, -1))
            least = max(least, seen[earlier - 1][1] if earlier else 0)
        place = _place(states[key], least, most, operation, licence.quantity)
        if place is None:
            proof.violated(
                answered,
                f"{name(operation)} was {_told(operation)} for product {key[0]} #{key[1]}, "
                f"and it was never so between {least} and {most} lines of the record",
            )
        elif operation.verb == "read":
            seen.append((answered, max(place, seen[-1][1] if seen else 0)))


def _key(operation: Operation, states: dict[Key, list[_State]]) -> Key | None:
    """The licence of a read, or of a refused request for a seat."""
    if operation.verb == "read" and operation.in_use is not None:
        key = operation.product, operation.tmr_id
        return key if key in states else None
    denied = operation.verb == "checkout" and operation.outcome == "refused"
    if denied and operation.problem in _FULL and operation.mode != "station-share":
        own = [key for key in states if key[0] == operation.product]
        return own[0] if len(own) == 1 else None
    return None


def _place(states: list[_State], least: int, most: int, operation: Operation, quantity: int) -> int | None:
    """The first place within the window at which the licence was as told."""
    at = bisect_right(states, least, key=lambda state: state[0]) - 1
    while at < len(states) and states[at][0] <= most:
        if _fits(states[at], operation, quantity):
            return max(least, states[at][0])
        at += 1
    return None


def _fits(state: _State, operation: Operation, quantity: int) -> bool:
    _, seats, alone, units = state
    if operation.verb == "read":
        return operation.in_use == seats and operation.quantity == quantity and operation.remaining == units
    if operation.problem == "no-more-licences":
        return seats >= quantity
    return seats > 0 if operation.mode == "exclusive" else alone


def _told(operation: Operation) -> str:
    if operation.verb == "read":
        units = "" if operation.remaining is None else f" and {operation.remaining} units"
        return f"told {operation.in_use} of {operation.quantity} seats in use{units}"
    return f"refused ({operation.problem})"


def _epochs(matching: Matching, proof: Proof) -> None:
    told = [one for one in matching.history.operations if one.epoch is not None and one.answered is not None]
    by_answer = sorted(told, key=lambda one: one.answered or 0.0)
    highest: Operation | None = None
    done = 0
    for operation in sorted(told, key=lambda one: one.sent):
        proof.facts += 1
        while done < len(by_answer) and (by_answer[done].answered or 0.0) < operation.sent:
            if highest is None or (by_answer[done].epoch or 0) > (highest.epoch or 0):
                highest = by_answer[done]
            done += 1
        if highest is not None and (operation.epoch or 0) < (highest.epoch or 0):
            proof.violated(
                operation.answered,
                f"{name(operation)} was answered in epoch {operation.epoch}, after {name(highest)} "
                f"had been in epoch {highest.epoch}",
            )
