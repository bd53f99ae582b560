# SPDX-License-Identifier: Apache-2.0
"""Units are conserved to the last one."""

from __future__ import annotations

from collections import defaultdict

from chaos.history import name
from chaos.rules.finding import Proof
from chaos.rules.matching import Matching, key_of
from testbed.workload.operations import Operation


def check(matching: Matching) -> Proof:
    """The counter fell by what was acknowledged, and what the record shows as taken without an answer."""
    proof = Proof("units", "Units are conserved to the last one, and no request is counted twice")
    taken = {place: one for place, one in matching.by.items() if matching.lines[place].event == "units"}
    claimed: set[int] = set(taken)
    _answers(matching, {id(one) for one in taken.values()}, proof)
    unanswered = _unanswered(matching, claimed)
    _unasked(matching, claimed, proof)
    _counters(matching, list(taken.values()), unanswered, proof)
    _keys(matching, proof)
    return proof


def _answers(matching: Matching, found: set[int], proof: Proof) -> None:
    remaining: dict[tuple[int, int, int], Operation] = {}
    for operation in matching.history.operations:
        if operation.outcome != "consumed":
            continue
        proof.facts += 1
        if id(operation) not in found:
            proof.violated(
                operation.answered,
                f"{name(operation)} was told that {operation.units} units were taken and "
                f"{operation.remaining} remain, and no line of the record says so",
            )
        if operation.remaining is None:
            continue
        other = remaining.setdefault((operation.product, operation.tmr_id, operation.remaining), operation)
        if other is not operation:
            proof.violated(
                operation.answered,
                f"{name(operation)} and {name(other)} were both told that {operation.remaining} units remain",
            )


def _unanswered(matching: Matching, claimed: set[int]) -> list[Operation]:
    """Those that the record shows as taken, each with one line, which is then claimed."""
    found = []
    for operation in matching.history.operations:
        if operation.verb == "consume" and not operation.outcome:
            for place in matching.takings(operation, claimed):
                if operation.sent < matching.not_after[place]:
                    claimed.add(place)
                    found.append(operation)
                    break
    return found


def _unasked(matching: Matching, claimed: set[int], proof: Proof) -> None:
    for place, line in enumerate(matching.lines):
        if line.event != "units":
            continue
        proof.facts += 1
        if place not in claimed:
            proof.violated(
                None,
                f"line {line.seq} takes {line.units} units for {line.user}, session {line.id}, "
                "and no request is left that could have led to it: one was counted twice",
            )


def _counters(
    matching: Matching, acknowledged: list[Operation], unanswered: list[Operation], proof: Proof
) -> None:
    asked: dict[int, int] = defaultdict(int)
    for operation in (*acknowledged, *unanswered):
        asked[operation.product] += operation.units
    recorded: dict[tuple[int, int], int] = defaultdict(int)
    for line in matching.lines:
        if line.event == "units":
            recorded[key_of(line)] += line.units
    for key, licence in matching.history.licences.items():
        if licence.units_before is None:
            continue
        proof.facts += 1
        if licence.units_after is None:
            proof.violated(None, f"product {key[0]} #{key[1]}: its counter could not be read in the end")
            continue
        gone = licence.units_before - licence.units_after
        if gone != recorded[key] or gone != asked[key[0]]:
            proof.violated(
                None,
                f"product {key[0]} #{key[1]}: the counter fell by {gone} units, "
                f"the record has {recorded[key]}, clients account for {asked[key[0]]}",
            )


def _keys(matching: Matching, proof: Proof) -> None:
    """Each request has an idempotency key of its own."""
    for (_, verb, key), operations in matching.keys.items():
        if verb == "consume" and len({one.remaining for one in operations if one.outcome == "consumed"}) > 1:
            one = operations[-1]
            proof.violated(
                one.answered, f"{name(one)}: key {key} was answered with different units remaining"
            )
