# SPDX-License-Identifier: Apache-2.0
"""Formats of the journal: the format in force, and the conditions for the next.

A `format` entry ends the format before it: everything that follows is in the format that it names. The active
twin writes it once the three replicas and both twins have announced that they can apply it. A version that
knows less refuses what is newer, and says so.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from tmr.quorum.entries import KINDS, Entry, Snapshot, decode_format
from tmr.quorum.messages import ReplicaState, TwinAnnouncement
from tmr.quorum.recent_twins import RecentTwins


class NewerFormat(Exception):
    """The journal needs a newer version of this program; the text says which format, and what to do."""


def too_new(needed: int, known: int) -> str:
    """Refusal of a journal in the format `needed`, for people."""
    return (
        f"the journal is in format {needed}, and {known} is the newest that this version knows: install the "
        "version that the other machines have"
    )


def newer(
    entries: Iterable[Entry],
    snapshot: Snapshot | None,
    known: int,
    unreadable: Callable[[bytes, int], str] = lambda _body, _format: "",
) -> str:
    """Reason why a version that knows the format `known` cannot continue with these; empty: it can.

    `unreadable`: see `StateMachine`. A newer version may have written, by mistake, a command of its own in a
    format that is known.
    """
    if snapshot is not None and snapshot.format > known:
        return too_new(snapshot.format, known)
    for entry in entries:
        needed = entry.format
        if entry.kind == "format":
            try:
                needed = max(needed, decode_format(entry.body))
            except msgspec.MsgspecError as error:
                return f"the format that entry {entry.index} begins cannot be read: {error}"
        if needed > known:
            return too_new(needed, known)
        if entry.kind not in KINDS:
            return (
                f"entry {entry.index} is of the kind {entry.kind!r}, which this version (format {known}) "
                "does not know: install the version that the other machines have"
            )
        if entry.kind == "command" and (why := unreadable(entry.body, entry.format)):
            return (
                f"entry {entry.index}: {why}: a newer version wrote it, or no twin of this system. Install "
                "the version that the other machines have"
            )
    return ""


def check(
    entries: Iterable[Entry], snapshot: Snapshot, known: int, unreadable: Callable[[bytes, int], str]
) -> None:
    """Raise NewerFormat where what is stored was written by a version that knows more."""
    if why := newer(entries, snapshot, known, unreadable):
        raise NewerFormat(why)


class Announcements:
    """The newest format that each twin has announced to one replica since the replica started."""

    def __init__(self) -> None:
        self._heard = RecentTwins[int]()
        self.heard: tuple[TwinAnnouncement, ...] = ()
        """The announcements, in the order of the twins' names. Every answer carries them."""

    def note(self, twin: str, newest: int) -> None:
        """The twin says so. Those of the two twins heard last are kept."""
        if self._heard.note(twin, newest) != newest:
            self.heard = tuple(TwinAnnouncement(*one) for one in sorted(self._heard.newest_first()))

    def outdated(self, needed: int) -> tuple[str, ...]:
        """Twins that cannot apply the format `needed`."""
        return tuple(heard.twin for heard in self.heard if heard.format < needed)


def known_to_twins(states: Sequence[ReplicaState], own_name: str, own: int) -> int:
    """Newest format that both twins can apply, as all replicas have heard; 0: not all have heard both."""
    newest = own
    for state in states:
        others = [heard.format for heard in state.twins if heard.twin != own_name]
        newest = min([newest, *others]) if others else 0
    return newest
