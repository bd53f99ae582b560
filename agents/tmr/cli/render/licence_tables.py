# SPDX-License-Identifier: Apache-2.0
"""Tables of containers and of the licences in them. No I/O."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tmr.api.explain import Candidate
from tmr.api.licences import Constituent, ConstituentState, Container, Item, ItemList, Unavailable
from tmr.api.status import LicenceStatus
from tmr.cli.render.layout import (
    BAD,
    FAINT,
    GOOD,
    PROBLEM_ROWS,
    WARN,
    FirstFitting,
    alarms,
    grid,
    moment,
    more,
)
from tmr.licensing.options import OPTIONS, Option
from tmr.licensing.spelling import counted, exact_period, written_bits, written_period

SOON: Final = dt.timedelta(days=30)
"""A licence that expires within this time is marked."""

CONSTITUENT_STYLES: Final = {
    ConstituentState.AVAILABLE: GOOD,
    ConstituentState.MISSING: BAD,
    ConstituentState.UNREACHABLE: BAD,
    ConstituentState.DIFFERENT: BAD,
    ConstituentState.EXPIRED: WARN,
}


def containers(found: Sequence[Container], items: ItemList) -> list[RenderableType]:
    """The virtual container, the licences in it, and those that are not for want of constituents."""
    out: list[RenderableType] = []
    for container in found:
        out.append(
            Text.assemble(
                (f"Container {container.serial}", "bold"), f", {container.kind}, {container.act_id}"
            )
        )
        behind = Text("Upstreams ")
        for position, upstream in enumerate(container.upstreams):
            style = GOOD if upstream.state == "available" else BAD
            behind.append(", " if position else "")
            behind.append(f"{upstream.name} {upstream.state}", style)
        out.append(behind)
    now = found[0].certified_time if found else dt.datetime.now(dt.UTC)
    out.append("")
    if items.items:
        out.append(_usable(items.items, now))
    else:
        out.append("No licence can be used.")
    out += alarms([f"{item.label}: {alarm}" for item in items.items for alarm in item.alarms])
    if items.unavailable:
        out += ["", Text("Not available", BAD), missing(items.unavailable)]
    return out


def _usable(found: Sequence[Item], now: dt.datetime) -> RenderableType:
    """The licences that can be used. What is special about them has a table of its own where it is narrow."""
    special = any(_options(item) for item in found)

    def table(*, options: bool) -> Table:
        rows = grid(
            "Licence", "Name", ">In use", "Expires", *(["Options"] if options else []), "Constituents"
        )
        for item in found:
            more = [_options(item)] if options else []
            rows.add_row(
                item.label,
                item.name,
                use(item),
                _expires(item, now),
                *more,
                constituents(item.constituents),
            )
        return rows

    if not special:
        return table(options=False)
    below = grid("Licence", "Options")
    for item in found:
        if _options(item):
            below.add_row(item.label, _options(item))
    return FirstFitting([table(options=True)], [table(options=False), "", below])


def use(licence: Item | LicenceStatus | Candidate) -> Text:
    """`3 of 5`, marked where none is free."""
    if licence.quantity is None:
        return Text(f"{licence.in_use} of unlimited")
    full = licence.in_use >= licence.quantity
    return Text(f"{licence.in_use} of {licence.quantity}", WARN if full else "")


def _options(item: Item) -> str:
    """Options of the licence, in few words."""
    said = []
    if item.emergency:
        said.append("emergency")
    if item.units_remaining is not None:
        said.append(f"{item.units_remaining} units")
    if item.usage_seconds is not None and item.first_use is None:
        said.append(f"{written_period(item.usage_seconds)} from first use")
    if item.borrow_seconds is not None:
        out = f", {item.borrowed} out" if item.borrowed else ""
        said.append(f"borrow {written_period(item.borrow_seconds)}{out}")
    if item.feature_map:
        said.append(f"features {written_bits(item.feature_map)}")
    if item.maintenance_end is not None:
        said.append(f"maintained to {moment(item.maintenance_end, '%Y-%m-%d')}")
    return "; ".join(said)


def details(found: Sequence[Item], table: Mapping[str, Option] = OPTIONS) -> list[RenderableType]:
    """All options of each licence, one to a line."""
    out: list[RenderableType] = []
    for item in found:
        out += ["", Text(f"{item.label} {item.name}".rstrip(), "bold")]
        rows = grid("", "")
        rows.show_header = False
        for label, value in (*_sentences(item), *_values(item, table)):
            if value:
                rows.add_row(Text(label, FAINT), str(value))
        out.append(Padding(rows, (0, 0, 0, 2)) if rows.row_count else Text("  no special options", FAINT))
    return out


def _sentences(item: Item) -> tuple[tuple[str, object], ...]:
    """Options of which there is more to say than their value, such as what is left of them."""
    return (
        ("Activation Time", item.activation and moment(item.activation)),
        ("Expiration Time", item.expiration and moment(item.expiration)),
        ("Usage Period", item.usage_seconds and _usage(item)),
        ("Maintenance Period", _maintenance(item)),
        ("Unit Counter", item.units and f"{item.units_remaining} of {item.units} units left"),
        ("Emergency licence", item.emergency and "yes"),
        ("Borrowing", item.borrow_seconds and _borrowing(item)),
        ("Feature Map", item.feature_map and f"bits {written_bits(item.feature_map)}"),
        ("Text", item.text),
        ("Customer", item.customer),
        ("User Data", item.user_data and f"{item.user_data} (Base64)"),
        ("Linger Time", item.linger_seconds and _lingering(item)),
        ("Named User", item.named_user and "a seat is a person's"),
    )


_SAID: Final = frozenset(
    (
        "name", "reference", "quantity", "expiration", "activation", "usage_seconds", "maintenance_start",
        "maintenance_end", "units", "emergency", "borrow_seconds", "borrow_seats", "feature_map", "text",
        "customer", "user_data", "linger_seconds", "named_user",
    )
)  # fmt: skip
"""Members of an item that the list or a sentence shows."""


def _values(item: Item, table: Mapping[str, Option]) -> Iterator[tuple[str, object]]:
    """All other options of the table: the title, and the value as it is."""
    for field, option in table.items():
        member = option.member or field
        if member not in _SAID:
            value = getattr(item, member)
            yield option.title, moment(value) if isinstance(value, dt.datetime) else value


def _usage(item: Item) -> str:
    period = written_period(item.usage_seconds or 0)
    if item.first_use is None:
        return f"{period} from the first use on; not used yet"
    return f"{period} from {moment(item.first_use)} on, so to {moment(item.ends) if item.ends else 'then'}"


def _maintenance(item: Item) -> str:
    start, end = item.maintenance_start, item.maintenance_end
    if start is None and end is None:
        return ""
    day = "%Y-%m-%d"
    return (
        f"versions released {'at any time' if start is None else 'from ' + moment(start, day)}"
        f"{'' if end is None else ' up to ' + moment(end, day)}"
    )


def _lingering(item: Item) -> str:
    now = f", {counted(item.lingering, 'seat')} now" if item.lingering else ""
    return f"a seat is kept for {exact_period(item.linger_seconds or 0)}{now}"


def _borrowing(item: Item) -> str:
    seats = "all seats" if item.borrow_seats is None else counted(item.borrow_seats, "seat")
    return f"{seats} for up to {written_period(item.borrow_seconds or 0)}; {item.borrowed} out"


def _expires(item: Item, now: dt.datetime) -> Text:
    ends = item.ends or item.expiration
    if ends is None:
        return Text("never", FAINT)
    return Text(moment(ends), WARN if ends - now < SOON else "")


def constituents(found: Iterable[Constituent]) -> Text:
    """`up1 up2`, and what is wrong with the others."""
    text = Text()
    for each in found:
        text.append(" " if text else "")
        if each.state is ConstituentState.AVAILABLE:
            text.append(each.upstream, GOOD)
        else:
            text.append(f"{each.upstream}:{each.state}", CONSTITUENT_STYLES[each.state])
    return text


def missing(unavailable: Sequence[Unavailable]) -> Table:
    """Unavailable licences with one line for each constituent."""
    table = grid("Licence", "Upstream", "State", "Detail")
    rows = [
        (licence.label if first else "", constituent)
        for licence in unavailable
        for first, constituent in zip([True, *[False] * 99], licence.constituents, strict=False)
    ]
    for label, constituent in rows[:PROBLEM_ROWS]:
        table.add_row(
            label,
            constituent.upstream,
            Text(constituent.state, CONSTITUENT_STYLES[constituent.state]),
            constituent.detail,
        )
    more(table, len(rows))
    return table
