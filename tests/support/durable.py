# SPDX-License-Identifier: Apache-2.0
"""Writes of an acceptor carried out in memory, as a store carries them out on disk."""

from tmr.quorum.durable import (
    AckedPositionsWrite,
    AppendWrite,
    CommitWrite,
    CutWrite,
    Durable,
    PromiseWrite,
    RecordWrite,
    ReleaseWrite,
    SnapshotWrite,
    TermWrite,
    VotingWrite,
    Write,
)


def carry_out(kept: Durable, write: Write) -> None:
    """Change `kept` as the write says. Lines of the record are no part of it."""
    match write:
        case PromiseWrite(epoch, owner, granted_ms):
            kept.promised, kept.owner, kept.granted_ms = epoch, owner, granted_ms
            kept.released = False
        case ReleaseWrite(epoch):
            kept.released = epoch == kept.promised
        case CutWrite(after):
            kept.entries = [entry for entry in kept.entries if entry.index <= after]
        case AppendWrite(entries):
            kept.entries = [*kept.entries, *entries]
        case CommitWrite(commit):
            kept.commit = commit
        case TermWrite(epoch):
            kept.term = epoch
        case AckedPositionsWrite(acked):
            kept.acked = acked
        case VotingWrite(voting):
            kept.voting = voting
            kept.damage = "" if voting else kept.damage
        case RecordWrite():
            pass
        case SnapshotWrite(snapshot, keep_tail):
            kept.snapshot = snapshot
            tail = kept.entries if keep_tail else ()
            kept.entries = [entry for entry in tail if entry.index > snapshot.index]
