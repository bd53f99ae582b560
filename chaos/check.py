# SPDX-License-Identifier: Apache-2.0
"""Proves from a campaign's records that every promise held, or names what broke it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chaos.figures import Findings, findings
from chaos.history import History, load
from chaos.rules import availability, chain, commands, damage, order, seats, sessions, twins, units, whole
from chaos.rules.finding import Proof
from chaos.rules.held_intervals import held_intervals
from chaos.rules.matching import Matching


@dataclass(frozen=True)
class Verdict:
    """`proofs`: each rule, and how many facts it was held against."""

    proofs: tuple[Proof, ...]
    findings: Findings

    @property
    def violations(self) -> list[str]:
        """All that was broken: rule, time in the campaign, operation."""
        return [text for proof in self.proofs for text in proof.broken]

    @property
    def holds(self) -> bool:
        """Every promise held."""
        return not self.violations


def check(directory: Path) -> Verdict:
    """Read the records of a campaign and judge them. Raises BadRecords."""
    return judge(load(directory))


def judge(history: History) -> Verdict:
    """Hold a history against every rule."""
    matching, held = Matching(history), held_intervals(history)
    seated, most = seats.check(matching, held)
    proofs = (
        seated,
        units.check(matching),
        commands.check(matching),
        sessions.check(matching, held),
        order.check(matching),
        chain.check(history.exported),
        availability.check(history),
        twins.check(history),
        damage.check(history),
        whole.check(history),
    )
    return Verdict(proofs, findings(history, most))
