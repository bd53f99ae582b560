"""Detection of a disk that was rolled back: its confirmed position is kept, and held against later ones.

Why, and what it does not find: decision 12.
"""

from collections.abc import Collection, Iterable

from tmr.quorum.entries import Mark
from tmr.quorum.messages import Member


def missed(mark: Mark, member: Member) -> bool:
    """The member shows less than its disk has confirmed."""
    known = mark.disk == member.disk and member.reign >= 0
    return known and mark.missed_by(member.reign, member.last_epoch, member.last_index)


def merged(one: Iterable[Mark], other: Iterable[Mark], disks: Collection[str]) -> tuple[Mark, ...]:
    """What both say about these disks, in a fixed order."""
    found: dict[str, Mark] = {}
    for mark in (*one, *other):
        if mark.disk in disks:
            known = found.get(mark.disk)
            found[mark.disk] = mark if known is None else known.joined(mark)
    return tuple(found[disk] for disk in sorted(found))


class Marks:
    """What a twin has learned, and when by its clock: an answer to an older question is no evidence."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Mark, float]] = {}
        self._excused = set[str]()
        """Disks that count in this reign although they have less."""

    def learn(self, mark: Mark, now: float) -> None:
        """The disk has confirmed this."""
        known = self._known.get(mark.disk)
        joined = mark if known is None else known[0].joined(mark)
        if known is None or joined != known[0]:
            self._known[mark.disk] = (joined, now)

    def gone_back(self, member: Member, sent_at: float) -> bool:
        """The answer to a question of `sent_at` shows less than was known when it was asked."""
        known = None if member.disk in self._excused else self._known.get(member.disk)
        return known is not None and sent_at >= known[1] and missed(known[0], member)

    def excuse(self, disk: str) -> None:
        """The reign that begins was elected by all three: this disk counts in it as it is."""
        self._excused.add(disk)

    def reign_committed(self) -> None:
        """A majority has all that the reign adopted: what else the excused disks had is given up."""
        for disk in self._excused:
            self._known.pop(disk, None)
        self._excused.clear()

    def reign_ended(self) -> None:
        """Disks that were excused, and were not brought up to date, are not to be believed."""
        self._excused.clear()

    def of(self, disks: Collection[str]) -> tuple[Mark, ...]:
        """What is known about these disks."""
        return merged((mark for mark, _ in self._known.values()), (), disks)
