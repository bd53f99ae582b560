# SPDX-License-Identifier: Apache-2.0
"""Destroyed and old stores: what is left decides nothing alone, and the machines say what happened."""

from __future__ import annotations

from chaos.history import History, name, over
from chaos.plan import TWINS
from chaos.records import Fault
from chaos.rules.finding import Proof

GIVEN = frozenset({"granted", "consumed", "borrowed"})
TOLD = {"bit-flipped": TWINS, "old-copies": TWINS}
"""Kind of fault → machines that must have raised an alarm of it."""


def check(history: History) -> Proof:
    """Hold the record of each such fault against what twins did and clients were told."""
    proof = Proof("damage", "Too few whole stores give nothing out, and damage is named in alarms")
    for fault in history.faults:
        proof.facts += 1
        if fault.kind == "old-majority":
            _no_term(history, fault, proof)
        elif fault.kind == "two-of-three-and-power":
            _nothing_given(history, fault, proof)
        for machine in TOLD.get(fault.kind, ()):
            proof.facts += 1
            if not any(text.startswith(f"{machine}: ") for text in fault.told):
                proof.violated(fault.began, f"{machine} raised no alarm of {fault.kind}")
    return proof


def _no_term(history: History, fault: Fault, proof: Proof) -> None:
    """Two old copies of one moment, and the third away: no twin serves with these."""
    for at, machines in history.looked(fault.began, fault.ended or history.end):
        for machine in TWINS:
            proof.facts += 1
            if machine in machines and machines[machine].serving:
                proof.violated(at, f"{machine} serves with two old copies of one moment")


def _nothing_given(history: History, fault: Fault, proof: Proof) -> None:
    """One container is left that holds the licences: a lease later nothing is given out any more."""
    begin, end = fault.began + history.campaign.ttl, fault.ended or history.end
    for operation in history.operations:
        if operation.sent < begin or over(operation, history) > end:
            continue
        proof.facts += 1
        if operation.outcome in GIVEN:
            proof.violated(
                operation.answered,
                f"{name(operation)} was told {operation.outcome}, with one constituent of three",
            )
