# SPDX-License-Identifier: Apache-2.0
"""Borrowed licences, as tables for people. No I/O."""

from collections.abc import Sequence
from functools import partial

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tmr.api.borrowing import Borrowing
from tmr.cli.ids import spelled
from tmr.cli.render.layout import BAD, FAINT, FirstFitting, chosen, grid, moment, person
from tmr.client.borrow_store import Stored


def stored(one: Stored) -> list[RenderableType]:
    """A borrowing that was just made."""
    licence = one.licence
    if licence is None:
        return [f"Borrowing {one.borrow} is kept in {one.path}."]
    name = f" {licence.name}" if licence.name else ""
    return [
        f"{licence.label}{name} is borrowed until {moment(licence.until)}: borrowing {licence.borrow}.",
        f"Its file is {one.path}.",
    ]


def borrowed(kept: Sequence[Stored], known: Sequence[Borrowing] | None) -> list[RenderableType]:
    """The files on this machine, and the borrowings that the server knows; None: it did not answer."""
    out: list[RenderableType] = []
    if kept:
        here = FirstFitting([_kept(kept)], [_kept(kept, short=True)])
        out += [Text("On this machine", "bold"), here]
    else:
        out.append("No borrow file is on this machine.")
    if known is None:
        out += ["", Text("The server does not answer.", FAINT)]
    elif known:
        there = partial(_known, known)
        ways = FirstFitting(
            [there()],
            [there("Since")],
            [there("Since", "Client")],
            [there("Since", short=True)],
            [there("Since", "Client", short=True)],
        )
        out += ["", Text("Known to the server", "bold"), ways]
    return out


def _kept(kept: Sequence[Stored], *, short: bool = False) -> Table:
    here = grid("Licence", "Name", "Until", "Borrowing")
    for one in kept:
        licence, borrowing = one.licence, spelled(one.borrow, short)
        if licence is None:
            here.add_row(Text("unreadable", BAD), "", "", borrowing)
        else:
            here.add_row(licence.label, licence.name, moment(licence.until), borrowing)
    return here


def _known(known: Sequence[Borrowing], *without: str, short: bool = False) -> Table:
    return chosen(
        ("Licence", "Client", "Held by", "Since", "Until", "Borrowing"),
        [
            (
                lent.label,
                lent.client,
                person(lent.user, lent.station),
                moment(lent.since),
                moment(lent.until),
                spelled(lent.id, short),
            )
            for lent in known
        ],
        without,
    )
