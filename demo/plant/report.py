# SPDX-License-Identifier: Apache-2.0
"""The minute as tables for people."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from demo.plant.records import Attempt
from demo.plant.verdict import Denial, Figures
from testbed.steps import WIDTH

_BAR = 8
_REASONS = {
    "no-more-licences": "all seats taken",
    "access-denied": "access rule",
    "left-the-queue": "no seat in time",
}


def show(*parts: RenderableType) -> None:
    """Print them as wide as the demo is."""
    console = Console(width=WIDTH, highlight=False)
    for part in parts:
        console.print(Padding(part, (0, 0, 0, 2), expand=False))


def products(figures: Sequence[Figures], names: Mapping[int, str]) -> Table:
    """Use, peaks and denials by product."""
    table = _table(
        "Product",
        ">Seats",
        ">Peak",
        "Use",
        ">Granted",
        ">No seat",
        ">By rule",
        ">Queued",
        ">Wait",
        ">Units",
    )
    for one in figures:
        table.add_row(
            f"{one.product} {names[one.product]}",
            str(one.seats),
            Text(str(one.peak), "bold yellow" if one.peak >= one.seats else ""),
            _bar(one.use),
            str(one.granted),
            _count(one.no_seat, "yellow"),
            _count(one.by_rule, "red"),
            _count(len(one.waits)),
            f"{statistics.median(one.waits):.1f} s" if one.waits else _none(),
            f"{one.units:,}" if one.units else _none(),
        )
    table.add_section()
    seats = sum(one.seats for one in figures)
    table.add_row(
        "all",
        str(seats),
        "",
        _bar(sum(one.use * one.seats for one in figures) / seats),
        str(sum(one.granted for one in figures)),
        str(sum(one.no_seat for one in figures)),
        str(sum(one.by_rule for one in figures)),
        str(sum(len(one.waits) for one in figures)),
        "",
        f"{sum(one.units for one in figures):,}",
        style="bold",
    )
    return table


def refusals(denials: Iterable[Denial], names: Mapping[int, str]) -> Table:
    """Refusals and their reasons."""
    table = _table("Refused", "Because", ">Code", "Access rule", ">Times")
    former = 0
    for one in denials:
        first = one.product != former
        table.add_row(
            f"{one.product} {names[one.product]}" if first else "",
            _REASONS.get(one.problem, one.problem),
            _none() if one.code is None else str(one.code),
            one.rule or _none(),
            str(one.count),
        )
        former = one.product
    return table


def sites(attempts: Sequence[Attempt]) -> Table:
    """Both sites side by side."""
    table = _table("Site", "Address", ">Stations", ">Requests", ">Granted", ">No seat", ">By rule")
    for site in dict.fromkeys(attempt.site for attempt in attempts):
        own = [attempt for attempt in attempts if attempt.site == site]
        table.add_row(
            site,
            own[0].address,
            str(len({attempt.station for attempt in own})),
            str(len(own)),
            str(sum(attempt.held for attempt in own)),
            str(sum(bool(attempt.denied) and not attempt.rule for attempt in own)),
            str(sum(bool(attempt.rule) for attempt in own)),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
    )
    for column in columns:
        table.add_column(
            column.lstrip(">"), justify="right" if column.startswith(">") else "left", no_wrap=True
        )
    return table


def _bar(part: float) -> Text:
    full = round(part * _BAR)
    return Text.assemble(("█" * full, "green"), ("░" * (_BAR - full), "dim"), f" {part:4.0%}")


def _count(number: int, style: str = "") -> Text:
    return Text(str(number), style) if number else _none()


def _none() -> Text:
    return Text("·", "dim")
