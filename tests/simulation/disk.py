# SPDX-License-Identifier: Apache-2.0
"""A disk with a write-ahead log: a batch is whole or absent after a crash, and certain only once it was
synced.

A batch is written as frames, one for each write, and a last one that commits it, as SQLite does in WAL
mode. What was written and not synced may survive a crash as far as any frame; frames without their commit
are not read.
"""

from typing import Any

import msgspec

from tests.simulation.licences import SimContainer
from tests.support.durable import carry_out
from tmr.ledger import Ledger, RecordDenials, encode
from tmr.quorum.durable import Durable, RecordWrite, SnapshotWrite, Write
from tmr.quorum.entries import Entry, Membership
from tmr.quorum.log import Log


class Survived(msgspec.Struct, frozen=True):
    """Of the batches that were not synced at a crash: how many were there nevertheless, lost, torn."""

    kept: int = 0
    lost: int = 0
    torn: int = 0
    """Of the lost: part of its frames had reached the disk."""


class Disk:
    """What one upstream finds after a power cut. `believes_torn`: without the rule that a commit frame is
    needed.
    """

    def __init__(self, name: str, container: SimContainer, *, believes_torn: bool = False) -> None:
        self._kept = Durable(replica_id=name)
        self.container = container
        self.damage = ""
        """The row that is not what was written, for people; empty: none."""
        self._believes_torn = believes_torn
        self._unsynced: list[list[Write]] = []
        self.record: dict[tuple[int, int], Any] = {}
        """Lines of the record by Firm Code and number."""
        self.skipped: list[tuple[int, int]] = []
        """Journal entries that a snapshot stood for: first and last. Their lines were never made here."""

    @property
    def name(self) -> str:
        """Its identity."""
        return self._kept.replica_id

    @property
    def voting(self) -> bool:
        """The right to vote is on disk."""
        return self._kept.voting

    @property
    def commit(self) -> int:
        """The commit index that is on disk."""
        return self._kept.commit

    def write(self, batch: list[Write]) -> None:
        """Hand a batch to the system: it may reach the disk, and need not before `sync`."""
        self._unsynced.append(batch)

    def sync(self) -> None:
        """Everything written is certain."""
        for batch in self._unsynced:
            self._put(batch)
        self._unsynced.clear()

    def forget(self) -> None:
        """What was written and not synced is undone: the transaction is rolled back."""
        self._unsynced.clear()

    def crash(self, share: float) -> Survived:
        """Power off: `share` (0 to below 1) says how many of the unsynced frames reached the disk."""
        frames = sum(len(batch) + 1 for batch in self._unsynced)
        reached = int(share * (frames + 1))
        kept = lost = torn = 0
        for batch in self._unsynced:
            if reached > len(batch):
                self._put(batch)
                kept += 1
            else:
                lost += 1
                torn += reached > 0
                if self._believes_torn and reached:
                    self._put(batch[-reached:])  # what was written last may be there first
            reached = max(0, reached - len(batch) - 1)
        self._unsynced.clear()
        return Survived(kept, lost, torn)

    def _put(self, writes: list[Write]) -> None:
        for write in writes:
            match write:
                case RecordWrite(lines):
                    self.record.update({(line.firm_code, line.seq): line for line in lines})
                case SnapshotWrite(snapshot, _) if snapshot.index > self._kept.commit:
                    self.skipped.append((self._kept.commit + 1, snapshot.index))
            carry_out(self._kept, write)

    def flip(self, share: float) -> bool:
        """One bit of a committed row of the journal changes. Whether there was such a row."""
        kept = self._kept
        rows = [
            number
            for number, entry in enumerate(kept.entries)
            if entry.index <= kept.commit and entry.kind == "command" and entry.body
        ]
        if not rows:
            return False
        number = rows[int(share * len(rows))]
        entry = kept.entries[number]
        body = bytearray(entry.body)
        body[int(share * 997) % len(body)] ^= 1
        kept.entries = list(kept.entries)
        kept.entries[number] = msgspec.structs.replace(entry, body=bytes(body))
        self.damage = f"journal entry {entry.index} is not what was written"
        return True

    def differ(self, ledger: Ledger) -> bytes:
        """The snapshot becomes that of another state, which holds together. Returns it."""
        kept = self._kept.snapshot
        ledger.restore(kept.state, kept.format)
        ledger._ledger_state.memory.steady_ms += 1
        state = ledger.snapshot(kept.format)
        self._kept.snapshot = msgspec.structs.replace(kept, state=state)
        return state

    def renewed(self, empty: "Disk") -> "Disk":
        """What `Store.renew` makes of it: an `empty` one that keeps the container and the record."""
        empty.container, empty.record = self.container, dict(self.record)
        empty.skipped = list(self.skipped)
        empty._kept.damage = self.damage
        return empty

    def foreign(self, empty: "Disk") -> "Disk":
        """A store of another founding, on an `empty` disk: the same epochs and indices, and other entries.

        Each is of a system of its own: two of one system, one after the other, are two that agree to a twin
        that knows nothing and has not heard yet that the first one is gone.
        """
        kept, founding = self.load(), f"other-{empty.name}"

        def other(entry: Entry) -> Entry:
            kind, body = (
                ("command", encode(RecordDenials(())))
                if entry.kind != "term"
                else ("term", founding.encode())
            )
            return msgspec.structs.replace(entry, kind=kind, body=body)

        members = Membership((f"{empty.name}-1", f"{empty.name}-2", empty.name))
        kept.snapshot = msgspec.structs.replace(
            kept.snapshot, membership=members, founding=founding if kept.snapshot.index else ""
        )
        kept.entries = [one if one.kind == "format" else other(one) for one in kept.entries]
        kept.replica_id, kept.acked = empty.name, ()
        empty._kept = kept
        return empty

    def copy(self) -> "Disk":
        """A copy as it is now, to be put back some day."""
        found = Disk(self._kept.replica_id, self.container)
        found._kept, found.record, found.skipped = self.load(), dict(self.record), list(self.skipped)
        return found

    def knows_more_of(self, other: "Disk") -> bool:
        """The upstream of this disk was told that `other` had confirmed more than it has."""
        log, term = Log.after(other._kept.snapshot, other._kept.entries), other._kept.term
        return any(
            position.replica_id == other._kept.replica_id
            and position.missed_by(term, log.last_epoch, log.last)
            for position in self._kept.acked
        )

    def load(self) -> Durable:
        """What the upstream reads when it starts."""
        return msgspec.structs.replace(self._kept, entries=list(self._kept.entries))
