# SPDX-License-Identifier: Apache-2.0
"""Explanations of errors: the reason, the holders of the seats, and the remedy. No I/O."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tmr.api.errors import NoService, TmrError, TwinAnswer
from tmr.api.licences import Constituent, Holder
from tmr.cli.render.layout import BAD, FAINT, PROBLEM_ROWS, chosen, grid, moment, more
from tmr.cli.render.licence_tables import CONSTITUENT_STYLES, missing
from tmr.licensing.spelling import counted


def error(raised: TmrError) -> list[RenderableType]:
    """Lines of an error: what went wrong, which machine is missing or holds the seats, and the remedy."""
    problem = getattr(raised, "problem", None)
    title = problem.title if problem is not None else raised.message.rstrip(".")
    head = Text.assemble(("Error: ", BAD), (title, "bold"))
    if problem is not None and problem.code is not None:
        head.append(f" (CodeMeter error {problem.code})", FAINT)
    out: list[RenderableType] = [head]
    if problem is not None and len(problem.mistakes) > 1:
        out += [Text(f"  {mistake}") for mistake in problem.mistakes]
    elif problem is not None and raised.message != title:
        out.append(Text(raised.message))
    if problem is not None and len(problem.unavailable) > 1:
        out += ["", missing(problem.unavailable)]
    elif problem is not None and any(c.state != "available" for c in problem.constituents):
        out += ["", _problem_constituents(problem.constituents)]
    if problem is not None and problem.rule and repr(problem.rule) not in raised.message:
        out.append(f"Access rule: {problem.rule}")
    if problem is not None and problem.holders:
        out += ["", holders(problem.holders)]
    if problem is not None and problem.next_end is not None:
        out.append(f"A seat comes back at the latest {moment(problem.next_end)}.")
    if problem is not None and problem.waiting:
        waits = "waits" if problem.waiting == 1 else "wait"
        out.append(f"{counted(problem.waiting, 'request')} {waits} for a seat already.")
    if isinstance(raised, NoService) and raised.reasons:
        out += ["", _reasons(raised.reasons, raised.message)]
    remedy = raised.remedy
    if remedy:
        out += ["", Text.assemble(("What to do: ", "bold"), remedy)]
    return out


def _problem_constituents(found: Sequence[Constituent]) -> Table:
    table = grid("Upstream", "Container", "State", "Detail")
    for each in dict.fromkeys(found):
        table.add_row(
            each.upstream,
            each.container or "-",
            Text(each.state, CONSTITUENT_STYLES[each.state]),
            each.detail,
        )
    return table


def holders(found: Sequence[Holder]) -> Table:
    """Table of the holders of the seats, with the end where that is known."""
    titles = ("Held by", "Station", "Process", "Mode", "Since", ">Seats", "Until")
    rows = [
        (
            each.user or "-",
            each.station,
            each.process or "-",
            each.access_mode or ("kept" if each.lingering else "borrowed"),
            moment(each.since),
            str(each.seats),
            "released" if each.until is None else moment(each.until),
        )
        for each in found[:PROBLEM_ROWS]
    ]
    table = chosen(titles, rows, () if any(each.process for each in found) else ("Process",))
    more(table, len(found))
    return table


def _reasons(reasons: Sequence[TwinAnswer], known: str) -> Table:
    table = grid("Twin", "Says")
    for each in reasons:
        if each.problem is None:
            table.add_row(each.address, Text(each.error, BAD))
        else:
            said = each.problem.detail or each.problem.title
            table.add_row(each.address, "the same" if said == known else said)
    return table
