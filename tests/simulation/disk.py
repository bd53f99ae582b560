"""A disk that keeps what was synced, and nothing else."""

from typing import Any

import msgspec

from tmr.quorum.acceptor import (
    AppendWrite,
    CommitWrite,
    CutWrite,
    Durable,
    MarksWrite,
    PromiseWrite,
    RecordWrite,
    ReignWrite,
    SnapshotWrite,
    VotingWrite,
    Write,
)
from tmr.quorum.log import Log


class Disk:
    """What one upstream finds after a power cut."""

    def __init__(self, name: str) -> None:
        self._kept = Durable(disk=name)
        self.record: dict[tuple[int, int], Any] = {}
        """Lines of the record by Firm Code and number."""
        self.skipped: list[tuple[int, int]] = []
        """Journal entries that a snapshot stood for: first and last. Their lines were never made here."""

    @property
    def commit(self) -> int:
        """The commit index that is on disk."""
        return self._kept.commit

    def sync(self, writes: list[Write]) -> None:
        """Make a batch durable."""
        kept = self._kept
        for write in writes:
            match write:
                case PromiseWrite(epoch, owner):
                    kept.promised, kept.owner = epoch, owner
                case CutWrite(after):
                    kept.entries = [e for e in kept.entries if e.index <= after]
                case AppendWrite(entries):
                    kept.entries = [*kept.entries, *entries]
                case CommitWrite(commit):
                    kept.commit = commit
                case ReignWrite(epoch):
                    kept.reign = epoch
                case MarksWrite(marks):
                    kept.marks = marks
                case VotingWrite(voting):
                    kept.voting = voting
                case RecordWrite(lines):
                    self.record.update({(line.firm_code, line.seq): line for line in lines})
                case SnapshotWrite(snapshot, keep_tail):
                    if snapshot.index > kept.commit:
                        self.skipped.append((kept.commit + 1, snapshot.index))
                    kept.snapshot = snapshot
                    kept.entries = [e for e in kept.entries if e.index > snapshot.index] if keep_tail else []

    def copy(self) -> "Disk":
        """A copy as it is now, to be put back some day."""
        found = Disk(self._kept.disk)
        found._kept, found.record, found.skipped = self.load(), dict(self.record), list(self.skipped)
        return found

    def knows_more_of(self, other: "Disk") -> bool:
        """The upstream of this disk was told that `other` had confirmed more than it has."""
        log, reign = Log.after(other._kept.snapshot, other._kept.entries), other._kept.reign
        return any(
            mark.disk == other._kept.disk and mark.missed_by(reign, log.last_epoch, log.last)
            for mark in self._kept.marks
        )

    def load(self) -> Durable:
        """What the upstream reads when it starts."""
        return msgspec.structs.replace(self._kept, entries=list(self._kept.entries))
