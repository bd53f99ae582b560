"""Ids of sessions and borrowings: 32 digits, of which people see and type the last ones."""

from collections.abc import Iterable
from typing import Final

import click
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

SHORT: Final = 8
"""Digits shown where there is no room for all. An id begins with the time and ends with randomness."""


class Id:
    """An id in a table: all of it where it fits, otherwise its end."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(SHORT, len(self._text)), len(self._text)).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        fits = len(self._text) <= options.max_width
        yield Text(self._text if fits else self._text[-SHORT:], no_wrap=True)


def find(given: str, known: Iterable[str]) -> str | None:
    """The id that `given` names: the whole of it, or its end. None: there is none. Raises UsageError."""
    ids = set(known)
    if given in ids:
        return given
    found = sorted(each for each in ids if len(given) >= SHORT and each.endswith(given))
    if len(found) > 1:
        raise click.UsageError(
            f"{given!r} is the end of {len(found)} ids: {', '.join(found)}. Give more of it."
        )
    return found[0] if found else None
