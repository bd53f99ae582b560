"""Borrowed licences, as tables for people. No I/O."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from tmr.cli.tables import BAD, FAINT, grid, moment
from tmr.client.borrow_store import Stored
from tmr.client.models import Borrowing


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
        here = grid("Licence", "Name", "Until", "Borrowing")
        for one in kept:
            licence = one.licence
            if licence is None:
                here.add_row(Text("unreadable", BAD), "", "", one.borrow)
            else:
                here.add_row(licence.label, licence.name, moment(licence.until), licence.borrow)
        out += [Text("On this machine", "bold"), here]
    else:
        out.append("No borrow file is on this machine.")
    if known is None:
        out += ["", Text("The server does not answer.", FAINT)]
    elif known:
        there = grid("Licence", "Client", "Held by", "Since", "Until", "Borrowing")
        for lent in known:
            there.add_row(
                lent.label,
                lent.client,
                f"{lent.user}@{lent.station}" if lent.user else lent.station,
                moment(lent.since),
                moment(lent.until),
                lent.id,
            )
        out += ["", Text("Known to the server", "bold"), there]
    return out
