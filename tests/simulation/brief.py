# SPDX-License-Identifier: Apache-2.0
"""Messages in a few words, for stories."""

from tmr.quorum.messages import (
    Acquire,
    Append,
    Appended,
    Busy,
    Conflict,
    Fenced,
    Install,
    NotVoting,
    PreVote,
    Promise,
    Release,
    ReplicaState,
    Reply,
    Request,
    Subscribe,
    Subscribed,
)


def brief(message: Request | Reply) -> str:
    """One line."""
    name = type(message).__name__
    match message:
        case Acquire(epoch=epoch, pre_vote=pre_vote):
            return f"{name} epoch {epoch}{', a pre-vote' if pre_vote else ''}"
        case Append(epoch=epoch, previous_index=previous, entries=entries, commit=commit):
            what = ", ".join(f"{entry.index} ({entry.kind}, epoch {entry.epoch})" for entry in entries)
            return f"{name} epoch {epoch}, after {previous}: {what or 'nothing'}; commit {commit}"
        case Install(epoch=epoch, snapshot=snapshot):
            return f"{name} epoch {epoch}, snapshot at {snapshot.index}"
        case Release(epoch=epoch):
            return f"{name} epoch {epoch}"
        case Subscribe(have_index=have):
            return f"{name} from {have}"
        case Busy(epoch=epoch, holder=holder, wait_ms=wait):
            return f"{name} epoch {epoch}: {holder} holds for {wait} ms more"
        case Appended(state=member, epoch=epoch, match_index=match):
            return f"{name} epoch {epoch}, equal up to {match}; {_member(member)}"
        case Conflict(state=member, epoch=epoch, retry_index=retry_index):
            return f"{name} epoch {epoch}, try from {retry_index}; {_member(member)}"
        case PreVote(state=member) | Promise(state=member) | Fenced(state=member) | NotVoting(state=member):
            return f"{name} epoch {message.epoch}; {_member(member)}"
        case Subscribed(holder=holder, entries=entries):
            return f"{name}: held by {holder or 'nobody'}, {len(entries)} entries"
    return name


def _member(member: ReplicaState) -> str:
    return (
        f"{member.replica_id}{'' if member.voting else ' (no vote)'} promised {member.promised}, "
        f"last {member.last_index} of epoch {member.last_epoch}, commit {member.commit}"
    )
