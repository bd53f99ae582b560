# SPDX-License-Identifier: Apache-2.0
"""Ids of sessions and borrowings: 32 digits, of which people see and type the last ones."""

from collections.abc import Iterable
from typing import Final

import click

SHORT: Final = 8
"""Digits shown where there is no room for all. An id begins with the time and ends with randomness."""


def spelled(text: str, short: bool) -> str:
    """The id as a table shows it."""
    return text[-SHORT:] if short else text


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
