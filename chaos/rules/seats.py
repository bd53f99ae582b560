# SPDX-License-Identifier: Apache-2.0
"""Seats are never exceeded: by what clients surely believed, and by the lines of the record."""

from __future__ import annotations

from collections import defaultdict

from chaos.history import History, Key, name
from chaos.rules.finding import Proof
from chaos.rules.held_intervals import HeldInterval
from chaos.rules.matching import ENDS, GRANTS, Matching, key_of
from chaos.rules.use import Use


def check(matching: Matching, held: list[HeldInterval]) -> tuple[Proof, dict[Key, int]]:
    """The proof, and for each licence the most seats that clients believed to hold at one time."""
    proof = Proof("seats", "Never more seats held than the licence has, in every access mode")
    most = _believed(matching.history, held, proof)
    _recorded(matching, proof)
    return proof, most


def _believed(history: History, held: list[HeldInterval], proof: Proof) -> dict[Key, int]:
    steps: dict[Key, list[tuple[float, int, HeldInterval]]] = defaultdict(list)
    for interval in held:
        for begin, end in interval.spans:
            steps[interval.key] += [(begin, 1, interval), (end, 0, interval)]
    most = dict.fromkeys(history.licences, 0)
    for key, changes in steps.items():
        licence, use, before = history.licences.get(key), Use(), ""
        for at, begins, interval in sorted(changes, key=lambda change: change[:2]):
            grant = interval.grant
            (use.begin if begins else use.end)(grant.session, grant.mode, grant.station)
            most[key] = max(most.get(key, 0), use.seats)
            proof.facts += 1
            wrong = use.wrong(licence.quantity) if licence else "the campaign has no such licence"
            if wrong and begins and wrong != before:
                proof.violated(at, f"{wrong} of {_label(key)}: {name(grant)} believes to hold one of them")
            before = wrong
    return most


def _recorded(matching: Matching, proof: Proof) -> None:
    uses: dict[Key, Use] = defaultdict(Use)
    for line in matching.lines:
        key, use = key_of(line), uses[key_of(line)]
        licence = matching.history.licences.get(key)
        if not apply(use, line.event, line.id, line.mode, line.station):
            continue
        proof.facts += 1
        begins = line.event in GRANTS or line.event == "borrowed"
        if begins and licence is not None and (wrong := use.wrong(licence.quantity)):
            proof.violated(None, f"{wrong} of {_label(key)} by line {line.seq}: {line.event} to {line.user}")


def apply(use: Use, event: str, session: str, mode: str, station: str) -> bool:
    """Carry out a line of the record; whether it was about a seat."""
    if event in GRANTS or event == "borrowed":
        use.begin(session, mode, station)
    elif event == "returned" or (event in ENDS and event != "unqueued"):
        use.end(session, mode, station)
    else:
        return False
    return True


def _label(key: Key) -> str:
    return f"product {key[0]} #{key[1]}"
