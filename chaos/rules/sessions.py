# SPDX-License-Identifier: Apache-2.0
"""A session that its client keeps alive lives; one that has ended is not kept alive."""

from __future__ import annotations

from chaos.history import History, name, over
from chaos.rules.finding import Proof
from chaos.rules.held_intervals import HeldInterval
from chaos.rules.matching import Matching


def check(matching: Matching, held: list[HeldInterval]) -> Proof:
    """No session ends within the time that its client was promised; none is confirmed after its end."""
    proof = Proof(
        "sessions", "A session that is kept alive survives every fault; an ended one is never confirmed"
    )
    by_session = {interval.grant.session: interval for interval in held}
    _not_gone(matching.history, by_session, proof)
    _not_expired(matching, by_session, proof)
    _not_revived(matching, proof)
    return proof


def _not_gone(history: History, held: dict[str, HeldInterval], proof: Proof) -> None:
    for operation in history.operations:
        if operation.verb != "heartbeat" or operation.answered is None:
            continue
        proof.facts += 1
        interval = held.get(operation.session)
        if interval and operation.outcome == "gone" and operation.answered < interval.promised:
            proof.violated(
                operation.answered,
                f"{name(operation)} was told that session {operation.session} is gone ({operation.problem}), "
                f"which was promised until {interval.promised:.3f} s",
            )


def _not_expired(matching: Matching, held: dict[str, HeldInterval], proof: Proof) -> None:
    for session, places in matching.ended.items():
        interval, line = held.get(session), matching.lines[places[0]]
        if interval is None or line.event != "expired":
            continue
        proof.facts += 1
        by = matching.not_after[places[0]]
        if by < interval.promised:
            proof.violated(
                by,
                f"session {session} of {name(interval.grant)} has expired by line {line.seq}, "
                f"and was promised until {interval.promised:.3f} s",
            )


def _not_revived(matching: Matching, proof: Proof) -> None:
    for operation in matching.history.operations:
        if operation.outcome != "alive":
            continue
        proof.facts += 1
        places = matching.ended.get(operation.session)
        if places and matching.not_after[places[0]] < operation.sent:
            proof.violated(
                over(operation, matching.history),
                f"{name(operation)} was told that session {operation.session} is alive, "
                f"which had ended by line {matching.lines[places[0]].seq}",
            )
