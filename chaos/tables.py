# SPDX-License-Identifier: Apache-2.0
"""The tables of a report, the same for Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from chaos.figures import PERCENTILES, Findings
from chaos.rules.excuses import CLIENT_S
from chaos.timeline import clock
from testbed.report import Section, Table

if TYPE_CHECKING:
    from chaos.check import Verdict

OUTAGES = 12
"""The longest ones are listed."""


def tables(verdict: Verdict) -> Iterator[Section]:
    """All of a report, in their order."""
    found = verdict.findings
    yield _rules(verdict)
    yield _operations(found)
    yield _faults(found)
    yield _outages(found)
    yield _licences(found)
    yield _terms(found)


def seconds(value: float) -> str:
    """A duration: milliseconds below one second."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _section(
    title: str, note: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]], numbers: frozenset[int]
) -> Section:
    return Section(title, (note, Table(head, rows, numbers)))


def _rules(verdict: Verdict) -> Section:
    rows = tuple(
        (
            proof.rule,
            proof.promise,
            f"{proof.facts:,}",
            "held" if not proof.broken else f"BROKEN: {len(proof.broken)}",
        )
        for proof in verdict.proofs
    )
    return _section(
        "What was proven",
        "Each rule was held against so many facts from the clients' records, the merged tracking record, "
        "and looks from outside.",
        ("rule", "promise", "facts", "result"),
        rows,
        frozenset({2}),
    )


def _operations(found: Findings) -> Section:
    rows = [
        (
            one.verb,
            f"{one.count:,}",
            ", ".join(f"{count:,} {outcome}" for outcome, count in one.outcomes.items()),
            f"{one.retried:,}",
            *(seconds(value) for value in one.percentiles),
            seconds(one.longest),
        )
        for one in found.verbs
    ]
    return _section(
        "Operations",
        "From the first time a request was sent to its answer, all retries with one idempotency key "
        f"together, takeovers included. {found.unexcused:,} clients gave up sooner than the bound of "
        f"{found.bounds.answer:g} s without a fault to excuse it.",
        ("verb", "number", "outcome", "retried", *(f"{percent:g} %" for percent in PERCENTILES), "longest"),
        tuple(rows),
        frozenset({1, 3, 4, 5, 6, 7, 8}),
    )


def _faults(found: Findings) -> Section:
    rows = []
    for number, effect in enumerate(found.effects, 1):
        fault = effect.fault
        rows.append(
            (
                str(number),
                clock(fault.began),
                f"{fault.kind} {fault.detail}".strip(),
                ", ".join(fault.machines),
                "until the end" if fault.ended is None else seconds(fault.ended - fault.began),
                seconds(effect.gap) if effect.gap else "none",
                str(effect.retried),
                str(effect.unanswered),
                ", ".join(f"{twin} in {epoch}" for twin, epoch in effect.terms) or "-",
            )
        )
    return _section(
        "Faults, and what they caused",
        "Silence: the longest time in which clients waited and nobody was answered. Retried, unanswered: "
        "requests that ended from this fault to the next. New term: which twin took over, and its epoch.",
        ("no", "at", "fault", "machines", "lasted", "silence", "retried", "unanswered", "new term"),
        tuple(rows),
        frozenset({0, 1, 4, 5, 6, 7}),
    )


def _outages(found: Findings) -> Section:
    number = {id(effect.fault): place for place, effect in enumerate(found.effects, 1)}
    rows = tuple(
        (
            clock(one.begin),
            seconds(one.seconds),
            str(one.waiting),
            f"{number[id(one.fault)]}: {one.fault.kind} of {', '.join(one.fault.machines)}"
            if one.fault
            else "-",
            one.why or f"none; within the bound of {found.bounds.answer:g} s",
        )
        for one in found.outages[:OUTAGES]
    )
    return _section(
        "Longest silences",
        f"After the loss of the active twin, or when enough machines live again, {found.bounds.takeover:g} s "
        f"are allowed (three leases of {found.bounds.ttl:g} s, and {CLIENT_S:g} s for clients to notice); "
        f"once a new term was seen, {CLIENT_S:g} s.",
        ("from", "lasted", "waiting", "fault responsible", "excuse"),
        rows,
        frozenset({0, 1, 2}),
    )


def _licences(found: Findings) -> Section:
    rows = tuple(
        (
            f"{one.firm_code}:{one.product_code} #{one.tmr_id}",
            str(one.quantity),
            str(found.most.get(key, 0)),
            "-" if one.units_before is None else f"{one.units_before:,}",
            "-" if one.units_after is None else f"{one.units_after:,}",
            f"{found.units[key]:,}" if key in found.units else "-",
        )
        for key, one in found.history.licences.items()
    )
    return _section(
        "Licences",
        "Most held: seats that clients surely believed to hold at one moment.",
        ("licence", "seats", "most held", "units before", "units after", "taken"),
        rows,
        frozenset({1, 2, 3, 4, 5}),
    )


def _terms(found: Findings) -> Section:
    ends = [at for at, _, _ in found.terms[1:]] + [found.history.end]
    rows = tuple(
        (clock(at), twin, str(epoch), seconds(max(0.0, end - at)))
        for (at, twin, epoch), end in zip(found.terms, ends, strict=False)
    )
    return _section(
        "Terms",
        "As seen from outside.",
        ("from", "twin", "epoch", "lasted"),
        rows,
        frozenset({0, 2, 3}),
    )
