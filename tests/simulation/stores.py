# SPDX-License-Identifier: Apache-2.0
"""Disks that acknowledged each entry: what is committed is on two of them, by their own answers."""

from collections.abc import Collection
from typing import Final

from tmr.quorum.acceptor import Acceptor
from tmr.quorum.entries import Entry

REACH: Final = 60
"""Entries that one answer may acknowledge, at most: journals are short here."""


class Stores:
    """A disk that lost what it acknowledged counts all the same: that is a fault of its own."""

    def __init__(self) -> None:
        self._disks: dict[tuple[int, int], set[str]] = {}
        """Index and epoch of an entry → the disks that acknowledged it."""
        self._covered: dict[str, int] = {}
        """Disk → the entries up to this one came to it in a snapshot."""
        self._last: dict[str, tuple[int, int]] = {}

    def acknowledged(self, acceptor: Acceptor, match: int) -> None:
        """An answer leaves: the disk's journal equals the active's up to `match`."""
        log, disk = acceptor.log, acceptor.replica_id
        index, epoch = self._last.get(disk, (0, 0))
        first = index + 1 if index <= match and log.epoch_at(index) == epoch else match - REACH
        for number in range(max(first, log.base + 1, 1), min(match, log.last) + 1):
            known = log.epoch_at(number)
            if known is not None:
                self._disks.setdefault((number, known), set()).add(disk)
        self._covered[disk] = max(self._covered.get(disk, 0), acceptor.snapshot.index)
        self._last[disk] = match, log.epoch_at(match) or 0

    def of(self, entry: Entry, disks: Collection[str]) -> list[str]:
        """Those of `disks` that acknowledged the entry."""
        stored = self._disks.get((entry.index, entry.epoch), set())
        return [disk for disk in disks if disk in stored or self._covered.get(disk, 0) >= entry.index]
