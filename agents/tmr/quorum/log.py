# SPDX-License-Identifier: Apache-2.0
"""The journal as a replica or a twin holds it in memory: entries after a base that a snapshot covers."""

from collections.abc import Iterable, Sequence

from tmr.quorum.entries import FIRST, Entry, Membership, Snapshot, checksum, decode_format, decode_membership
from tmr.quorum.founding import founding_of


class Log:
    """Entries `base + 1 … last`. Index 0 is before the first entry."""

    def __init__(
        self,
        index: int = 0,
        epoch: int = 0,
        time_ms: int = 0,
        membership: Membership | None = None,
        entry_format: int = FIRST,
        founding: str = "",
        base_sum: bytes = b"",
    ) -> None:
        self.base = index
        self.base_epoch = epoch
        self._base_time = time_ms
        self._base_membership = membership
        self._base_format = entry_format
        self._base_founding = founding
        self._base_sum = base_sum
        self._summed: tuple[Entry, bytes] | None = None
        """The last entry that was asked for, with its checksum: one append to all three names the same."""
        self._first = ""
        """Founding by the first entry, where that is among the entries."""
        self._entries: list[Entry] = []
        self.size = 0
        """Bytes in the bodies of its entries."""
        self._memberships: list[tuple[int, Membership]] = []
        self._formats: list[tuple[int, int]] = []

    @classmethod
    def after(cls, snapshot: Snapshot, entries: Iterable[Entry] = ()) -> "Log":
        """The log that continues `snapshot` with `entries`."""
        log = cls(
            snapshot.index,
            snapshot.epoch,
            snapshot.time_ms,
            snapshot.membership,
            snapshot.format,
            snapshot.founding,
            snapshot.checksum,
        )
        log.extend(entries)
        return log

    @property
    def last(self) -> int:
        """Index of the last entry."""
        return self.base + len(self._entries)

    @property
    def last_epoch(self) -> int:
        """Epoch of the last entry."""
        return self._entries[-1].epoch if self._entries else self.base_epoch

    @property
    def last_time(self) -> int:
        """Certified time of the last entry, Unix milliseconds."""
        return self._entries[-1].time_ms if self._entries else self._base_time

    @property
    def membership(self) -> Membership | None:
        """The membership in force: a `members` entry counts as soon as it is in the log."""
        return self._memberships[-1][1] if self._memberships else self._base_membership

    @property
    def format(self) -> int:
        """Format of the entry that follows: a `format` entry counts as soon as it is in the log."""
        return self._formats[-1][1] if self._formats else self._base_format

    def format_at(self, index: int) -> int:
        """The format in force after the entry at `index`."""
        return next((begun for at, begun in reversed(self._formats) if at <= index), self._base_format)

    def founding_at(self, index: int) -> str:
        """The founding that the journal up to `index` is of; empty before the first entry."""
        return self._base_founding or (self._first if index else "")

    def epoch_at(self, index: int) -> int | None:
        """Epoch of the entry at `index`, or None where this log does not know it."""
        if index == self.base:
            return self.base_epoch
        if self.base < index <= self.last:
            return self._entries[index - self.base - 1].epoch
        return None

    def sum_at(self, index: int) -> bytes:
        """Checksum of the entry at `index`; empty where this log does not have it."""
        if index == self.base:
            return self._base_sum
        if not self.base < index <= self.last:
            return b""
        entry = self[index]
        if self._summed is None or self._summed[0] is not entry:
            self._summed = entry, checksum(entry)
        return self._summed[1]

    def time_at(self, index: int) -> int:
        """Certified time of the entry at `index`, Unix milliseconds."""
        return self._base_time if index == self.base else self[index].time_ms

    def membership_at(self, index: int) -> Membership | None:
        """The membership in force after the entry at `index`."""
        known = self._base_membership
        for at, membership in self._memberships:
            if at <= index:
                known = membership
        return known

    def __getitem__(self, index: int) -> Entry:
        if not self.base < index <= self.last:
            raise IndexError(f"journal index {index} is outside {self.base + 1}..{self.last}")
        return self._entries[index - self.base - 1]

    def after_index(self, index: int, limit: int | None = None, size: int | None = None) -> Sequence[Entry]:
        """At most `limit` entries that follow `index`, of at most `size` bytes unless one alone has more."""
        start = index - self.base
        entries = self._entries[start : None if limit is None else start + limit]
        if size is not None:
            for count, entry in enumerate(entries):
                size -= len(entry.body)
                if count and size < 0:
                    return entries[:count]
        return entries

    def tail(self, end: int, limit: int, size: int) -> int:
        """The index that the last `limit` entries up to `end` follow, or fewer, of `size` bytes at most."""
        index = end
        while index > max(self.base, end - limit):
            size -= len(self[index].body)
            if size < 0:
                break
            index -= 1
        return index

    def extend(self, entries: Iterable[Entry]) -> None:
        """Append entries that follow one another without a gap."""
        for entry in entries:
            if entry.index != self.last + 1:
                raise ValueError(f"journal gap: entry {entry.index} cannot follow {self.last}")
            self._entries.append(entry)
            self.size += len(entry.body)
            if entry.index == 1:
                self._first = founding_of(entry)
            if entry.kind == "members":
                self._memberships.append((entry.index, decode_membership(entry.body)))
            elif entry.kind == "format":
                self._formats.append((entry.index, decode_format(entry.body)))

    def cut(self, after: int) -> None:
        """Forget every entry that follows `after`."""
        kept = max(0, after - self.base)
        self._first = self._first if after else ""
        self.size -= sum(len(entry.body) for entry in self._entries[kept:])
        del self._entries[kept:]
        while self._memberships and self._memberships[-1][0] > after:
            self._memberships.pop()
        while self._formats and self._formats[-1][0] > after:
            self._formats.pop()

    def compact(self, upto: int) -> None:
        """Move the base up to `upto`: a snapshot covers what is before."""
        if upto <= self.base:
            return
        epoch, time_ms = self.epoch_at(upto), self.time_at(upto)
        if epoch is None:
            raise IndexError(f"cannot compact to {upto}: the journal ends at {self.last}")
        self._base_membership = self.membership_at(upto)
        self._memberships = [(at, m) for at, m in self._memberships if at > upto]
        self._base_format = self.format_at(upto)
        self._base_founding, self._base_sum = self.founding_at(upto), self.sum_at(upto)
        self._formats = [(at, begun) for at, begun in self._formats if at > upto]
        self.size -= sum(len(entry.body) for entry in self._entries[: upto - self.base])
        del self._entries[: upto - self.base]
        self.base, self.base_epoch, self._base_time = upto, epoch, time_ms
