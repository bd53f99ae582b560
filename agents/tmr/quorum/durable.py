# SPDX-License-Identifier: Apache-2.0
"""Durable state of an acceptor, and the writes that change it.

An answer of the acceptor lists its writes: durability is a value, and the runtime makes it true.
"""

from typing import Any, Final

import msgspec

from tmr.quorum.entries import AckedPosition, Entry, Membership, ProposerId, Snapshot
from tmr.quorum.log import Log
from tmr.quorum.messages import Reply

GIVEN_UP: Final = "an operator gave up its journal"
"""Damage of a store that an operator renewed (`tmr-upstream renew`): no fault of its disk."""


class Durable(msgspec.Struct):
    """Everything a replica must find again after a power cut."""

    replica_id: str
    voting: bool = False
    promised: int = 0
    owner: ProposerId | None = None
    snapshot: Snapshot = Snapshot(0, 0, 0, None, b"")
    entries: list[Entry] = []
    commit: int = 0
    term: int = 0
    acked: tuple[AckedPosition, ...] = ()
    granted_ms: int = 0
    """Length of the longest lease of the promise's owner that may live."""
    released: bool = False
    """The lease of the promise was given back: no twin acts on it any more."""
    damage: str = ""
    """Damage of the former store: this store began empty, and may not found a system."""

    @property
    def membership(self) -> Membership | None:
        """The membership in force; None: the replica is new."""
        return Log.after(self.snapshot, self.entries).membership


class PromiseWrite(msgspec.Struct, frozen=True):
    """Remember the promised epoch and its owner, and how long a lease of it may live."""

    epoch: int
    owner: ProposerId
    granted_ms: int = 0


class ReleaseWrite(msgspec.Struct, frozen=True):
    """Remember that the lease of the promised epoch was given back, until the next `PromiseWrite`."""

    epoch: int


class CutWrite(msgspec.Struct, frozen=True):
    """Delete the entries that follow `after`."""

    after: int


class AppendWrite(msgspec.Struct, frozen=True):
    """Add entries at the end."""

    entries: tuple[Entry, ...]


class CommitWrite(msgspec.Struct, frozen=True):
    """Note the commit index. A hint: losing it loses nothing."""

    commit: int


class RecordWrite(msgspec.Struct, frozen=True):
    """Keep the lines that applied commands added to the record. Not urgent: the journal gives them again.

    It goes with or before the `SnapshotWrite` that deletes their entries.
    """

    lines: tuple[Any, ...]


class SnapshotWrite(msgspec.Struct, frozen=True):
    """Replace the snapshot, and delete the entries up to it (`keep_tail`) or all of them."""

    snapshot: Snapshot
    keep_tail: bool


class VotingWrite(msgspec.Struct, frozen=True):
    """Note whether this replica votes."""

    voting: bool


class TermWrite(msgspec.Struct, frozen=True):
    """Remember the last term that the journal was taken of."""

    epoch: int


class AckedPositionsWrite(msgspec.Struct, frozen=True):
    """Remember what the three replicas have confirmed, in place of what was known. A hint, too."""

    acked: tuple[AckedPosition, ...]


Hint = CommitWrite | RecordWrite | AckedPositionsWrite
"""Messages that may follow with the next batch."""
Write = PromiseWrite | ReleaseWrite | CutWrite | AppendWrite | SnapshotWrite | VotingWrite | TermWrite | Hint


class Answer(msgspec.Struct):
    """`reply` may leave once `writes` are durable, in order and all or none; `woke`: followers have news."""

    reply: Reply
    writes: list[Write] = []
    woke: bool = False
