# SPDX-License-Identifier: Apache-2.0
"""Entries of the journal, and the values in them."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec

from tmr.licensing.packed import unpack

FORMAT: Final = 1
"""Newest format that this version can apply: of entries, and of states in snapshots."""
FIRST: Final = 1
"""Format that a new journal begins in."""

BODY_MAX: Final = 7 * 2**20
"""Bytes in the body of one entry: it must fit one append (8 MiB) of any twin."""

# Bounds are the decoder's. SQLite and the ledger's digest take 64 bits with a sign.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""An index, an epoch, or Unix milliseconds."""
Name = Annotated[str, msgspec.Meta(max_length=128)]
"""Of a twin, an incarnation, or a replica id."""

Kind = Literal["term", "members", "command", "format"]
KINDS: Final[frozenset[str]] = frozenset(("term", "members", "command", "format"))
"""Kinds of entries that this version knows. A newer version may have more: they are refused, and readable."""


class ProposerId(msgspec.Struct, frozen=True, array_like=True):
    """Proposer that asks for an epoch: name of the twin, and incarnation, which is new with each run of it.

    The incarnation keeps a twin that crashed and returned from taking answers that were meant for its former
    run.
    """

    name: Name
    incarnation: Name


class Membership(msgspec.Struct, frozen=True, array_like=True):
    """Membership: the store that counts for each of the three replicas, and those that never count again."""

    replica_ids: tuple[Name, Name, Name]
    retired: tuple[Name, ...] = ()

    @classmethod
    def of_one(cls, replica_id: str) -> "Membership":
        """The membership of a server that keeps its journal by itself: its store counts in every place."""
        return cls((replica_id, replica_id, replica_id))

    @property
    def replicas(self) -> int:
        """Number of different replicas: 1 for a server that keeps its journal by itself."""
        return len(set(self.replica_ids))

    def replacing(self, replica: int, replica_id: str) -> "Membership":
        """The membership after the store `replica_id` took the place of the store in `replica`."""
        replica_ids = list(self.replica_ids)
        gone, replica_ids[replica] = replica_ids[replica], replica_id
        return Membership((replica_ids[0], replica_ids[1], replica_ids[2]), (*self.retired, gone))


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One line of the journal: `body` is opaque to the quorum unless `kind` is its own."""

    index: Count
    epoch: Count
    time_ms: Count
    """Certified time, Unix milliseconds: never earlier than the entry's before."""
    kind: Name
    """One of `KINDS`, unless a newer version wrote it."""
    body: bytes
    format: Count = FIRST
    """Format in force where the entry stands."""


def checksum(entry: Entry) -> bytes:
    """Checksum of an entry, 8 bytes: in a row of a store, and where two journals are compared."""
    return hashlib.blake2b(msgspec.msgpack.encode(entry), digest_size=8).digest()


class AckedPosition(msgspec.Struct, frozen=True, array_like=True):
    """Position that a replica has confirmed: in term `term` it had the journal up to `index`, an entry of
    `epoch`.

    It is the least that this replica must have for ever: a replica that shows less was put back to an older
    state.
    """

    replica_id: str
    term: int
    epoch: int = 0
    index: int = 0

    def joined(self, other: "AckedPosition") -> "AckedPosition":
        """Position that both together confirm; `other` is of the same replica."""
        if self.term != other.term:
            return max(self, other, key=lambda position: position.term)
        return AckedPosition(
            self.replica_id, self.term, max(self.epoch, other.epoch), max(self.index, other.index)
        )

    def missed_by(self, term: int, last_epoch: int, last_index: int) -> bool:
        """The replica now shows less. A later term may have cut what no majority had: then it says so."""
        return term < self.term or (
            term == self.term and (last_epoch < self.epoch or last_index < self.index)
        )


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """The state machine after entry `index`, which was of `epoch` and of certified time `time_ms`."""

    index: Count
    epoch: Count
    time_ms: Count
    membership: Membership | None
    state: bytes
    format: Count = FIRST
    """Format in force after the entry; the state is written in it."""
    founding: Name = ""
    """Founding that the journal is of; empty before its first entry."""
    checksum: bytes = b""
    """Checksum of the entry at `index`; empty before the first."""


class StateMachine(Protocol):
    """State machine that the journal drives.

    Deterministic: the same entries give the same state, outcomes and digest.
    """

    @property
    def lines(self) -> Sequence[Any]:
        """Lines that the last entry added to the record: kept by replicas, and opaque to the quorum."""

    def apply(self, index: int, time_ms: int, body: bytes, entry_format: int) -> Any:
        """Carry out one committed entry of this format and return its outcome."""

    def unreadable(self, body: bytes, entry_format: int) -> str:
        """Reason why this version cannot carry a command of this format out; empty: it can."""

    def snapshot(self, entry_format: int) -> bytes:
        """The whole state in this format, for `restore`."""

    def restore(self, state: bytes, entry_format: int) -> None:
        """Become what `snapshot` wrote in this format; empty bytes mean the state before any entry."""

    def digest(self) -> bytes:
        """A running digest of everything applied so far."""


class WriteValidator(Protocol):
    """Validator of writes, whichever twin is active: it knows what the quorum does not."""

    def command(self, body: bytes) -> str:
        """Reason why this replica must not store the command, for people; empty: it may."""

    def state(self, state: bytes, entry_format: int = FIRST, *, fresh: bool) -> str:
        """Reason not to continue from this state; empty: none. `fresh`: the replica has no state yet."""


_memberships: Final = msgspec.msgpack.Decoder(Membership)


def encode_membership(membership: Membership) -> bytes:
    """The body of a `members` entry."""
    return msgspec.msgpack.encode(membership)


def decode_membership(body: bytes) -> Membership:
    """The membership in the body of a `members` entry. Raises msgspec.DecodeError."""
    return unpack(_memberships, body)


_formats: Final = msgspec.msgpack.Decoder(Annotated[int, msgspec.Meta(ge=1, le=2**31)])


def encode_format(entry_format: int) -> bytes:
    """The body of a `format` entry: the format of everything that follows."""
    return msgspec.msgpack.encode(entry_format)


def decode_format(body: bytes) -> int:
    """The format that a `format` entry begins. Raises msgspec.DecodeError."""
    begun: int = unpack(_formats, body)
    return begun
