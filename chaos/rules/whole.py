# SPDX-License-Identifier: Apache-2.0
"""In the end everything is whole, and nothing is left over."""

from __future__ import annotations

from chaos.history import History
from chaos.plan import UPSTREAMS
from chaos.records import Sample
from chaos.rules.finding import Proof


def check(history: History) -> Proof:
    """Nothing held, three equal journals and records, three votes."""
    proof = Proof("end", "In the end nothing is held, and the three upstreams are equal and vote")
    campaign, proof.facts = history.campaign, 5
    if campaign.finished <= 0:
        proof.violated(None, "the campaign was not played to its end")
    if campaign.sessions_after:
        proof.violated(
            campaign.finished,
            f"{campaign.sessions_after} sessions, borrowings or places in a queue are still held",
        )
    if not campaign.records_agree:
        proof.violated(campaign.finished, "the three copies of the record do not agree")
    if set(campaign.journal) != set(UPSTREAMS) or len(set(campaign.journal.values())) != 1:
        known = ", ".join(f"{name} {index}" for name, index in sorted(campaign.journal.items())) or "unknown"
        proof.violated(campaign.finished, f"the three journals are not equal: {known}")
    latest: dict[str, Sample] = {}
    for at, machines in history.looks:
        if at >= campaign.finished:
            latest.update({name: one for name, one in machines.items() if one.voting is not None})
    silent = [name for name in UPSTREAMS if name not in latest or not latest[name].voting]
    if silent:
        proof.violated(campaign.finished, f"{', '.join(silent)} did not vote in the end")
    return proof
