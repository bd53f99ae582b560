# SPDX-License-Identifier: Apache-2.0
"""The report of a campaign: what was proven, and figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chaos.check import Verdict
from chaos.tables import seconds, tables
from chaos.timeline import clock, draw
from testbed import report
from testbed.report import Picture, Report

TIMELINE = "timeline.svg"
_SLICE_S = 300.0
"""A longer campaign has a picture for each stretch of so many seconds, besides the one of the whole."""
_SHOWN = 12
"""Violations of one rule that are listed; a campaign that breaks a promise often breaks it in many places."""


def write(directory: Path, verdict: Verdict) -> None:
    """Write `report.md`, `report.html` and `timeline.svg`; what is there of an older one is replaced."""
    report.write(directory, "report", describe(verdict))


def describe(verdict: Verdict) -> Report:
    """The whole report."""
    campaign, found = verdict.findings.history.campaign, verdict.findings
    count = len(verdict.violations)
    return Report(
        "Campaign on the lab",
        f"{clock(campaign.seconds)} minutes with seed {campaign.seed}: {campaign.clients} clients sent "
        f"{len(found.history.operations):,} requests for {len(campaign.licences)} licences, "
        f"{len(found.effects)} faults struck.",
        verdict="Every promise held" if not count else f"{count:,} violation{'s' if count > 1 else ''}",
        good=verdict.holds,
        violations=_listed(verdict),
        cards=_cards(verdict),
        parts=[*_pictures(verdict)],
        sections=[*tables(verdict)],
    )


def _cards(verdict: Verdict) -> list[tuple[str, str]]:
    found = verdict.findings
    longest = max((one.seconds for one in found.outages), default=0.0)
    lost = sum(one.outcomes.get("unanswered", 0) for one in found.verbs)
    end = max(found.history.end, 1.0)
    return [
        (f"{sum(proof.facts for proof in verdict.proofs):,}", "facts checked"),
        (f"{len(found.effects)}", f"faults of {len(found.kinds)} kinds"),
        (f"{max(0, len(found.terms) - 1)}", "changes of term"),
        (f"{100 * (1 - found.silent / end):.1f} %", "of the time somebody was answered"),
        (seconds(longest), "longest silence"),
        (f"{lost}", "requests whose outcome their client never learnt"),
    ]


def _pictures(verdict: Verdict) -> Iterator[Picture]:
    found, end = verdict.findings, verdict.findings.history.end
    yield Picture(TIMELINE, "The whole campaign", draw(found, 0.0, max(1.0, end)))
    if end > 1.2 * _SLICE_S:
        for number in range(int(end // _SLICE_S) + 1):
            begin, until = number * _SLICE_S, min(end, (number + 1) * _SLICE_S)
            if until - begin > 1:
                yield Picture("", f"From {clock(begin)} to {clock(until)}", draw(found, begin, until))


def _listed(verdict: Verdict) -> list[str]:
    found = []
    for proof in verdict.proofs:
        found += proof.broken[:_SHOWN]
        if (more := len(proof.broken) - _SHOWN) > 0:
            found.append(f"{proof.rule}: and {more:,} more, which `python -m chaos check` names")
    return found
