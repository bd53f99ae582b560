# SPDX-License-Identifier: Apache-2.0
"""Layout of tables for people: columns, widths, colours, and text that is safe for a terminal. No I/O.

Tables fit 80 columns, and a pipe. Times are shown in the local time zone.
"""

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tmr.api.fields import UNFIT

GOOD: Final = "green"
WARN: Final = "yellow"
BAD: Final = "bold red"
FAINT: Final = "dim"
WIDEST: Final = 1000
"""Columns: no table is wider."""
PROBLEM_ROWS: Final = 30
"""Rows of one table in an error: enough to see what is wrong."""

_UNFIT: Final = re.compile(f"(?!\n)[{UNFIT}]")

# Columns that keep to one line: in narrow tables the others give way.
_ONE_LINE: Final = frozenset(
    ("Licence", "Mode", "Held by", "In use", "Expires", "Since", "Ends in", "Votes", "State", "Seats")
)


class FirstFitting:
    """The first of several ways to show something whose tables fit the width; else the last."""

    def __init__(self, *ways: Sequence[RenderableType]) -> None:
        self._ways = ways

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        def fits(way: Sequence[RenderableType]) -> bool:
            wide = options.update(max_width=WIDEST)
            return all(
                Measurement.get(console, wide, part).maximum <= options.max_width
                for part in way
                if isinstance(part, Table)
            )

        yield from next((way for way in self._ways if fits(way)), self._ways[-1])


class WithoutControlCharacters:
    """Shows `renderable` without characters that would do something to the terminal.

    Names and details come from other people's machines.
    """

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._renderable, options):
            yield Segment(clean(segment.text), segment.style, segment.control)


def clean(text: str) -> str:
    """`text` with a question mark for every character that is no text."""
    return _UNFIT.sub("?", text)


def moment(time: dt.datetime, form: str = "%Y-%m-%d %H:%M") -> str:
    """A time in the local time zone."""
    return time.astimezone().strftime(form)


def clock(time: dt.datetime | None) -> str:
    """The time of day in the local time zone, or a hyphen."""
    return "-" if time is None else moment(time, "%H:%M:%S")


def grid(*columns: str) -> Table:
    """A table without frames; `>` before a title: to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        title = column.lstrip(">")
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        one_line = title in _ONE_LINE
        table.add_column(
            title, justify=justify, no_wrap=one_line, overflow="ellipsis" if one_line else "fold"
        )
    return table


def chosen(titles: Sequence[str], rows: Iterable[Sequence[str]], without: Sequence[str]) -> Table:
    """A grid of these rows, less the columns `without`."""
    kept = [number for number, title in enumerate(titles) if title.lstrip(">") not in without]
    table = grid(*(titles[number] for number in kept))
    for row in rows:
        table.add_row(*(row[number] for number in kept))
    return table


def more(table: Table, rows: int) -> None:
    """Add a row that says how many of the rows are left out."""
    if rows > PROBLEM_ROWS:
        table.add_row(Text(f"… and {rows - PROBLEM_ROWS} more", FAINT))


def alarms(told: Sequence[str]) -> list[RenderableType]:
    """A paragraph of alarms; nothing where there is none."""
    if not told:
        return []
    lines: list[RenderableType] = ["", Text("Alarms", BAD)]
    return lines + [Padding(Text(alarm, WARN), (0, 0, 0, 2)) for alarm in told]


def person(user: str, station: str) -> str:
    """`ada@cad-07`."""
    return f"{user}@{station}" if user else station
