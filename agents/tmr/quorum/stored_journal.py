# SPDX-License-Identifier: Apache-2.0
"""Stored journal of an acceptor: entries, snapshot, and the ledger that follows from them.

What is stored survives; what is committed is applied, in order and once; what a snapshot covers is deleted.
The ledger is compared with the active twin's by digests.
"""

from typing import Any, Final

from tmr.quorum import formats
from tmr.quorum.durable import (
    AckedPositionsWrite,
    AppendWrite,
    CutWrite,
    Durable,
    RecordWrite,
    SnapshotWrite,
    TermWrite,
    Write,
)
from tmr.quorum.entries import AckedPosition, Entry, Snapshot, StateMachine
from tmr.quorum.invariants import require
from tmr.quorum.log import Log
from tmr.quorum.messages import Append
from tmr.quorum.rollback import merged

SNAPSHOT_EVERY: Final = 5_000
"""Applied entries after which the journal is compacted to a snapshot, at least."""
SNAPSHOT_SELDOM: Final = 10
"""So many times as many at most, where a snapshot is so large that it costs more than its entries did."""
SNAPSHOT_COST: Final = 500
"""Bytes of a snapshot for each entry that it waits for: it is about as large as the entries then. Entries of
many commands are larger: of those it waits for as many bytes."""
SNAPSHOT_STAGGER: Final = (1.0, 1.13, 1.29)
"""Difference of the three replicas' numbers: while one writes a snapshot, two must be left to answer."""
SUBSCRIBED_ENTRIES: Final = 2_000
"""Entries in one answer to `Subscribe`."""
SUBSCRIBED_BYTES: Final = 2 * 2**20
"""Bytes of their bodies, unless one alone has more."""
TAIL: Final = 2_000
"""Entries, of SUBSCRIBED_BYTES at most, that a snapshot covers and that stay in memory: a passive twin is
a little late, and would be sent the whole snapshot otherwise."""


class StoredJournal:
    """Journal and ledger. At all times snapshot <= applied <= commit <= last, by index."""

    def __init__(self, durable: Durable, machine: StateMachine, newest: int) -> None:
        formats.check(durable.entries, durable.snapshot, newest, machine.unreadable)
        self.replica_id = durable.replica_id
        self.log = Log.after(durable.snapshot, durable.entries)
        self.commit = max(durable.snapshot.index, min(durable.commit, self.log.last))
        self.snapshot = durable.snapshot
        self.newest = newest
        """Newest format that it can apply."""
        self.term = durable.term
        """Epoch of the last term that the journal was taken of."""
        self.acked = durable.acked
        """Positions that the three replicas have confirmed, as the active twin said."""
        self.rolled_back = False
        """This replica has less than it confirmed before: since this start, the active twin has said so."""
        self.rebuilt = 0
        """Times that the state machine was made anew, because it differed from the active twin's."""
        self.differs = False
        """The ledger was another than the active twin's when they were compared last."""
        self._rebuilt_in = -1
        """Epoch in which the state machine was made anew, and differs still; -1: it does not."""
        self._machine = machine
        self._applied = durable.snapshot.index
        self._applied_bytes = 0
        """Bytes in the bodies of the entries applied since the snapshot."""
        machine.restore(durable.snapshot.state, durable.snapshot.format)
        self.regenerated: list[Write] = list(self._apply())
        """To be written with the first batch: lines of the record that may have been lost with it."""

    def check_invariants(self) -> None:
        """Raise InvariantViolation where something does not hold that always must."""
        log, covered = self.log, self.snapshot.index
        require(log.base <= covered <= self._applied, "base <= snapshot <= applied")
        require(self._applied == self.commit <= log.last, "all that is committed is applied, and stored")

    @property
    def applied(self) -> int:
        """Index of the last entry applied to the state machine."""
        return self._applied

    def newer(self, entries: tuple[Entry, ...], snapshot: Snapshot | None) -> str:
        """Reason why this version cannot continue with these; empty: it can."""
        return formats.newer(entries, snapshot, self.newest, self._machine.unreadable)

    # -- entries -------------------------------------------------------------------------------------------

    def _store(self, entries: tuple[Entry, ...]) -> list[Write]:
        writes: list[Write] = []
        for position, entry in enumerate(entries):
            known = self.log.epoch_at(entry.index) if entry.index <= self.log.last else None
            if known is not None and self.log[entry.index] == entry:
                continue
            if known is not None:
                if entry.index <= self.commit:
                    raise AssertionError(f"journal entry {entry.index} is committed and cannot be replaced")
                self.log.cut(entry.index - 1)
                writes.append(CutWrite(entry.index - 1))
            self.log.extend(entries[position:])
            writes.append(AppendWrite(entries[position:]))
            break
        return writes

    def _forked(self, index: int, checksum: bytes) -> bool:
        """The sender has another entry at `index`, although it may be of the same epoch."""
        own = self.log.sum_at(index)
        return bool(own and checksum and own != checksum)

    def _committed_sum(self, index: int) -> bytes:
        """Checksum of the entry at `index`; empty where it is not known, or not committed."""
        return self.log.sum_at(index) if index <= self.commit else b""

    def _news(
        self, have_index: int, have_epoch: int, upto: int, limit: int | None = None, size: int | None = None
    ) -> tuple[Snapshot | None, tuple[Entry, ...]]:
        """Entries after the mirrored one, up to `upto`; with the snapshot where the journal starts later."""
        if have_index > self.log.last:
            return None, ()
        if have_index and self.log.epoch_at(have_index) == have_epoch:  # at 0 it lacks even the membership
            snapshot, after = None, have_index
        else:
            snapshot, after = self.snapshot, self.snapshot.index
        count = upto - after
        return snapshot, tuple(
            self.log.after_index(after, count if limit is None else min(limit, count), size)
        )

    def _committed_news(self, have_index: int, have_epoch: int) -> tuple[Snapshot | None, tuple[Entry, ...]]:
        """Committed entries after the mirrored one, as many as one answer may have."""
        return self._news(have_index, have_epoch, self.commit, SUBSCRIBED_ENTRIES, SUBSCRIBED_BYTES)

    def _taken_of(self, epoch: int, match_index: int, *, cut: bool = False) -> list[Write]:
        """The journal now equals that of this term up to `match_index`.

        It counts as taken with the term's first entry: before that, a replica that was rolled back would seem
        to have all that the term adopted. What this term `cut`, it does not have: then a shorter journal is
        no sign of that.
        """
        if epoch == self.term or not (cut or self.log.epoch_at(match_index) == epoch):
            return []
        self.term = epoch
        return [TermWrite(epoch)]

    def _remember(self, acked: tuple[AckedPosition, ...]) -> list[Write]:
        """Keep what the replicas of the membership have confirmed; see if this replica was rolled back."""
        for position in acked:
            if position.replica_id == self.replica_id and position.missed_by(
                self.term, self.log.last_epoch, self.log.last
            ):
                self.rolled_back = True
        membership = self.log.membership
        known = merged(self.acked, acked, membership.replica_ids if membership else ())
        if known == self.acked:
            return []
        self.acked = known
        return [AckedPositionsWrite(known)]

    # -- the ledger ----------------------------------------------------------------------------------------

    def _apply(self) -> list[RecordWrite]:
        """Apply what is committed; the lines to keep."""
        lines: list[Any] = []
        while self._applied < self.commit:
            entry = self.log[self._applied + 1]
            if entry.kind == "command":
                self._machine.apply(entry.index, entry.time_ms, entry.body, entry.format)
                lines += self._machine.lines
            self._applied = entry.index
            self._applied_bytes += len(entry.body)
        return [RecordWrite(tuple(lines))] if lines else []

    def _rebuild(self) -> list[RecordWrite]:
        """Make the state machine anew from the own snapshot and journal: memory may have changed it."""
        self._machine.restore(self.snapshot.state, self.snapshot.format)
        self._applied, self._applied_bytes, self.rebuilt = self.snapshot.index, 0, self.rebuilt + 1
        return self._apply()

    def _agrees(self, digest: bytes) -> bool:
        return digest == self._machine.digest()

    def _comparable(self, message: Append) -> bool:
        return bool(message.digest) and message.digest_index == self._applied

    def _compare(self, message: Append) -> list[RecordWrite]:
        """Compare the ledger with the twin's. Where it differs, make it anew, once in a term."""
        if not self._comparable(message):
            return []
        lines: list[RecordWrite] = []
        self.differs = not self._agrees(message.digest)
        if self.differs and self._rebuilt_in != message.epoch:
            self._rebuilt_in = message.epoch
            lines = self._rebuild()
            self.differs = not self._agrees(message.digest)
        if not self.differs:
            self._rebuilt_in = -1
        return lines

    # -- snapshots -----------------------------------------------------------------------------------------

    def _take_snapshot(self) -> Snapshot:
        at = self._applied
        epoch = self.log.epoch_at(at)
        if epoch is None:
            raise AssertionError(f"applied index {at} is not in the journal")
        now = self.log.format_at(at)
        members, state = self.log.membership_at(at), self._machine.snapshot(now)
        founded, checksum = self.log.founding_at(at), self.log.sum_at(at)
        return Snapshot(at, epoch, self.log.time_at(at), members, state, now, founded, checksum)

    def _enough(self) -> bool:
        """The entries make a snapshot worth while."""
        worth = len(self.snapshot.state) // SNAPSHOT_COST
        entries = min(max(worth, SNAPSHOT_EVERY), SNAPSHOT_SELDOM * SNAPSHOT_EVERY)
        membership = self.log.membership
        known = membership is not None and self.replica_id in membership.replica_ids
        replica = membership.replica_ids.index(self.replica_id) if membership is not None and known else 0
        grown = max(self._applied - self.snapshot.index, self._applied_bytes / SNAPSHOT_COST)
        return grown >= entries * SNAPSHOT_STAGGER[replica]

    def _compact(self) -> list[Write]:
        if not self._enough():
            return []
        self.snapshot, self._applied_bytes = self._take_snapshot(), 0
        self.log.compact(self.log.tail(self.snapshot.index, TAIL, SUBSCRIBED_BYTES))
        return [SnapshotWrite(self.snapshot, keep_tail=True)]
