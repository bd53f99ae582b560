# SPDX-License-Identifier: Apache-2.0
"""No acknowledged command is lost, none is carried out twice, and none that nobody asked for."""

from __future__ import annotations

import math
from collections import defaultdict

from chaos.history import name
from chaos.rules.finding import Proof
from chaos.rules.matching import Matching, Places
from testbed.workload.operations import Operation
from tmr.ledger.record import Line

_WHERE = {
    "granted": "granted",
    "waiting": "queued",
    "borrowed": "borrowed",
    "freed": "ended",
    "returned": "returned",
}


def check(matching: Matching) -> Proof:
    """Every acknowledged command is in the record once, every other one at most once."""
    proof = Proof("commands", "Every acknowledged command is in the record exactly once, others at most once")
    _acknowledged(matching, proof)
    _once(matching, proof)
    _one_session_for_a_key(matching, proof)
    _asked_for(matching, proof, "granted")
    _asked_for(matching, proof, "borrowed")
    return proof


def _acknowledged(matching: Matching, proof: Proof) -> None:
    for operation in matching.history.operations:
        where = _WHERE.get(operation.outcome)
        if where is None:
            continue
        proof.facts += 1
        places: Places = getattr(matching, where)
        found = places.get(operation.session, [])
        if len(found) != 1:
            proof.violated(
                operation.answered,
                f"{name(operation)} was told {operation.outcome}, session {operation.session}, "
                f"and the record has it {len(found)} times",
            )
            continue
        wrong = _unlike(operation, matching.lines[found[0]])
        if wrong:
            proof.violated(operation.answered, f"{name(operation)}: {wrong}, session {operation.session}")


def _unlike(operation: Operation, line: Line) -> str:
    if line.product_code != operation.product:
        return f"asked for product {operation.product}, the record says {line.product_code}"
    if operation.tmr_id and line.tmr_id is not None and line.tmr_id != operation.tmr_id:
        return f"was told TMR-Id {operation.tmr_id}, the record says {line.tmr_id}"
    begins = operation.outcome in ("granted", "waiting", "borrowed")
    if begins and line.user and line.user != operation.client:
        return f"the record gives it to {line.user}"
    return ""


def _once(matching: Matching, proof: Proof) -> None:
    for what, places in (
        ("granted", matching.granted),
        ("ended", matching.ended),
        ("borrowed", matching.borrowed),
        ("returned", matching.returned),
    ):
        for session, found in places.items():
            if len(found) > 1:
                at = _moment(matching, found[1])
                proof.violated(at, f"session {session} was {what} {len(found)} times by the record")
    for begins, ends in ((matching.granted, matching.ended), (matching.borrowed, matching.returned)):
        for session, found in ends.items():
            if session in begins and begins[session][0] > found[0]:
                at = _moment(matching, found[0])
                proof.violated(at, f"session {session} ended before it began by the record")
    begun = {*matching.granted, *matching.queued, *matching.borrowed}
    for session, found in (*matching.ended.items(), *matching.returned.items()):
        if session not in begun:
            proof.violated(_moment(matching, found[0]), f"session {session} ended and was never granted")


def _one_session_for_a_key(matching: Matching, proof: Proof) -> None:
    keys: dict[str, tuple[str, str]] = {}
    for (client, verb, key), operations in matching.keys.items():
        if verb not in ("checkout", "wait", "borrow"):
            continue
        sessions = {one.session for one in operations if one.session}
        last = operations[-1]
        if len(sessions) > 1:
            proof.violated(
                last.answered,
                f"{name(last)}: one idempotency key, {key}, was given {len(sessions)} sessions: "
                f"{', '.join(sorted(sessions))}",
            )
        for session in sessions:
            other = keys.setdefault(session, (client, key))
            if other != (client, key):
                proof.violated(
                    last.answered,
                    f"{name(last)}: session {session} was given to {other[0]}, key {other[1]}, too",
                )


def _asked_for(matching: Matching, proof: Proof, event: str) -> None:
    """Lines that no answer names: each has a request that was not answered, and no two have the same."""
    verbs = ("borrow",) if event == "borrowed" else ("checkout", "wait")
    open_: dict[tuple[str, int], list[Operation]] = defaultdict(list)
    known: set[str] = set()
    for (client, verb, _), operations in matching.keys.items():
        if verb not in verbs:
            continue
        known.update(one.session for one in operations if one.session)
        # A request that was refused after several tries may have left a copy on its way, in a connection
        # to a twin that lost the address for a while: that one may get a seat, which nobody uses.
        if all(one.outcome == "" or (one.outcome == "refused" and one.tries > 1) for one in operations):
            open_[client, operations[0].product].append(operations[0])
    places: Places = matching.borrowed if event == "borrowed" else matching.granted
    begun = set(places) | (set() if event == "borrowed" else set(matching.queued))
    for session in sorted(begun - known, key=lambda one: _first(matching, one, places)):
        place = _first(matching, session, places)
        line = matching.lines[place]
        latest = matching.not_after[place]
        wanted = open_.get((line.user, line.product_code), [])
        request = next((one for one in wanted if one.sent < latest), None)
        proof.facts += 1
        if request is None:
            proof.violated(
                _moment(matching, place),
                f"line {line.seq}, {line.event} to {line.user or line.client}, session {session} of product "
                f"{line.product_code}: no unanswered request could have led to it, one was carried out twice",
            )
        else:
            wanted.remove(request)


def _first(matching: Matching, session: str, places: Places) -> int:
    return min([*places.get(session, []), *matching.queued.get(session, [])])


def _moment(matching: Matching, place: int) -> float | None:
    """About when a line was written."""
    after, before = matching.not_before[place], matching.not_after[place]
    return next((moment for moment in (before, after) if math.isfinite(moment)), None)
