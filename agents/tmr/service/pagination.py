# SPDX-License-Identifier: Apache-2.0
"""Long lists in pages: a page is short enough to be made and sent between two renewals of the lease."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from tmr.api.fields import PAGE_MAX

T = TypeVar("T")

AFTER: Final = r"^[bqs]\.[0-9]{1,16}\.[A-Za-z0-9_~-]{1,128}$"
"""Position at which a page ends: the list, certified time (Unix milliseconds) and id of its last entry."""


class Cursor(msgspec.Struct, frozen=True, order=True):
    """An entry's place in its list: lists are in the order of time, and of ids within a millisecond."""

    time_ms: int
    id: str

    def written(self, kind: str) -> str:
        """As `next` of a page, and `after` of the request for the one that follows."""
        return f"{kind}.{self.time_ms}.{self.id}"


class Page:
    """Takes entries of one list after the other until it is full. `after`: where the one before ended."""

    def __init__(self, limit: int = PAGE_MAX, after: str | None = None) -> None:
        self.left = limit
        self.next: str | None = None
        """Position at which this page ends, if there is more."""
        self._last = ""
        self._kind, self._after = "", Cursor(-1, "")
        if after is not None:
            assert re.fullmatch(AFTER, after)  # noqa: S101 - the route's parameter has this pattern
            self._kind, time_ms, name = after.split(".", 2)
            self._after = Cursor(int(time_ms), name)

    def take(self, kind: str, entries: Sequence[T], mark: Callable[[T], Cursor]) -> Iterator[T]:
        """Those of `entries` that belong to this page. `entries` are in the order of time.

        Lists are taken in the alphabetical order of their kinds, backwards: what was shown is skipped.
        """
        after = Cursor(-1, "")
        if self._kind:
            if kind > self._kind:
                return
            after = self._after if kind == self._kind else after
        first = _first(entries, after.time_ms, mark)
        for entry in _ordered(itertools.islice(entries, first, None), mark):
            at = mark(entry)
            if at <= after:
                continue
            if not self.left:
                self.next = self._last
                return
            self.left -= 1
            self._last = at.written(kind)
            yield entry


def _first(entries: Sequence[T], time_ms: int, mark: Callable[[T], Cursor]) -> int:
    """The first entry that is not before `time_ms`."""
    low, high = 0, len(entries)
    while low < high:
        middle = (low + high) // 2
        if mark(entries[middle]).time_ms < time_ms:
            low = middle + 1
        else:
            high = middle
    return low


def _ordered(entries: Iterable[T], mark: Callable[[T], Cursor]) -> Iterator[T]:
    for _, together in itertools.groupby(entries, key=lambda entry: mark(entry).time_ms):
        yield from sorted(together, key=mark)
