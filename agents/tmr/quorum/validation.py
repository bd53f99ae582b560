# SPDX-License-Identifier: Apache-2.0
"""Validation between replicas and twins: messages that no honest sender makes are refused.

A stolen twin or replica has a valid certificate. These rules hold for all: a message that breaks one changes
nothing, renews no lease, and raises an alarm. Each function gives the reason, or "".
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from tmr.licensing.spelling import TIME_MS_MAX
from tmr.quorum.entries import (
    BODY_MAX,
    Entry,
    Membership,
    Snapshot,
    WriteValidator,
    decode_format,
    decode_membership,
)
from tmr.quorum.log import Log
from tmr.quorum.majority import ALL
from tmr.quorum.messages import Acquire, Promise, Reply, Request, Subscribe, Subscribed

EPOCHS: Final = 2**32
"""More terms than any system sees; a clock that is wrong does not lower it."""
TWO: Final = (
    "two act in one term, one of them as a copy of the other's running machine. End the copy; a switchover "
    "then brings this upstream up to date"
)
LEAP_MS: Final = 3_600_000
"""Past the year 9999 certified time may go on, and not leap: or a few entries would use all numbers up."""


def to_epoch(epoch: int, wall_ms: int) -> str:
    """Terms never begin each millisecond: an epoch that no clock has reached would block all others."""
    if epoch > max(EPOCHS, wall_ms):
        return f"the epoch {epoch} is beyond any that can have been reached by now"
    return ""


def to_fork(index: int, held: int, epoch: int) -> str:
    """Another entry of the epoch `held` is at this index than the sender has: not to be cut in that term.

    One of two processes that act in one term may rely on it. A later term knows what a majority has.
    """
    if held != epoch:
        return ""
    return f"entry {index} of epoch {held} is another one here: {TWO}"


def to_entries(
    log: Log,
    replica_id: str,
    commit: int,
    previous: int,
    epoch: int,
    entries: Sequence[Entry],
    validator: WriteValidator | None,
) -> str:
    """Entries of a term of `epoch`, to be stored after `previous`, which is in the journal `log`."""
    last_epoch, last_time = log.epoch_at(previous) or 0, log.time_at(previous)
    membership, entry_format = log.membership_at(previous), log.format_at(previous)
    new = False
    for expected, entry in enumerate(entries, previous + 1):
        if entry.index != expected:
            return f"entry {entry.index} stands where {expected} belongs"
        if not last_epoch <= entry.epoch <= epoch:
            return f"entry {entry.index} is of epoch {entry.epoch}, between {last_epoch} and {epoch}"
        if entry.time_ms < last_time:
            return f"certified time runs backwards at entry {entry.index}"
        if entry.time_ms > max(TIME_MS_MAX, last_time + LEAP_MS):
            return f"certified time leaps past the year 9999 at entry {entry.index}"
        if entry.format != entry_format:
            return f"entry {entry.index} is in format {entry.format} where {entry_format} is in force"
        if len(entry.body) > BODY_MAX:
            return f"entry {entry.index} has {len(entry.body)} bytes, more than {BODY_MAX}"
        last_epoch, last_time = entry.epoch, entry.time_ms
        if entry.kind == "format":
            if (begun := decode_format(entry.body)) <= entry_format:
                return f"entry {entry.index} goes from format {entry_format} to {begun}: formats only rise"
            entry_format = begun
        held = log.epoch_at(entry.index)
        same = held == entry.epoch and log[entry.index] == entry
        if held is not None and not new and not same and (why := to_fork(entry.index, held, epoch)):
            return why  # also where the sender goes on from an entry of an earlier term
        if same and not new:  # stored already; from the first new one on, what follows is cut
            membership = log.membership_at(entry.index)
            continue
        if held is not None and entry.index <= commit:
            return f"entry {entry.index} is committed here with the epoch {held}"
        new = True
        if entry.kind == "members":
            try:
                following = decode_membership(entry.body)
            except msgspec.MsgspecError as error:
                return f"the membership of entry {entry.index} cannot be read: {error}"
            why = _to_membership(membership, following, replica_id)
            if why:
                return f"entry {entry.index}: {why}"
            membership = following
        elif entry.kind == "command" and validator is not None and (why := validator.command(entry.body)):
            return f"entry {entry.index}: {why}"
    return ""


def _to_membership(before: Membership | None, after: Membership, replica_id: str) -> str:
    """One new store takes the place of another, which is retired; never that of a replica that is there."""
    if before is None:
        return ""
    changed = [replica for replica in ALL if before.replica_ids[replica] != after.replica_ids[replica]]
    if not before.retired:  # two replicas that were founded while a store was lost may differ in that one
        right = len(changed) <= 1 and len(after.retired) == 1 and after.retired[0] not in after.replica_ids
    else:
        right = len(changed) == 1 and after == before.replacing(changed[0], after.replica_ids[changed[0]])
    if not right:
        return "a membership changes by one disk, and retires that one"
    if not changed:
        return ""
    fresh = after.replica_ids[changed[0]]
    if fresh in before.replica_ids or fresh in before.retired:
        return "this disk is a member, or was retired"
    if before.replica_ids[changed[0]] == replica_id:
        return "it replaces this upstream's own disk: another machine took its place, or the twin lies"
    return ""


def to_snapshot(
    log: Log,
    commit: int,
    replica_id: str,
    epoch: int,
    snapshot: Snapshot,
    validator: WriteValidator | None,
    fresh: bool,
) -> str:
    """A snapshot to continue from. `fresh`: the replica never belonged to any system."""
    if snapshot.epoch > epoch:
        return f"the snapshot is of epoch {snapshot.epoch}, its term of {epoch}"
    if fresh:
        return validator.state(snapshot.state, snapshot.format, fresh=True) if validator is not None else ""
    if snapshot.format < log.format_at(commit):
        return "the snapshot goes back to an older format"
    if snapshot.time_ms < log.time_at(commit):
        return "certified time runs backwards in the snapshot"
    before, after = log.membership_at(commit), snapshot.membership
    if before is not None and after is not None:
        if after.retired[: len(before.retired)] != before.retired:
            return "the snapshot forgets disks that were retired"
        own = [replica for replica in ALL if before.replica_ids[replica] == replica_id]
        if any(after.replica_ids[replica] != replica_id for replica in own):
            return "the snapshot replaces this upstream's own disk, which is not lost"
    return validator.state(snapshot.state, snapshot.format, fresh=False) if validator is not None else ""


def to_answer(request: Request, reply: Reply, wall_ms: int) -> str:
    """An answer that no honest replica gives: the twin takes it for none. `wall_ms`: the twin's clock."""
    state = reply.state
    if why := to_epoch(state.promised, wall_ms):
        return why
    if state.commit > state.last_index:
        return f"entry {state.commit} is said to be committed, and {state.last_index} to be the last"
    if not isinstance(reply, Promise | Subscribed) or not isinstance(request, Acquire | Subscribe):
        return ""
    snapshot, entries = reply.snapshot, reply.entries
    last, epoch, time_ms = request.have_index, 0, 0
    if snapshot is not None:
        last, epoch, time_ms = snapshot.index, snapshot.epoch, snapshot.time_ms
    for entry in entries:
        if entry.index != last + 1:
            return f"entry {entry.index} stands where {last + 1} belongs"
        if entry.epoch < epoch or entry.time_ms < time_ms:
            return f"epoch or certified time runs backwards at entry {entry.index}"
        if entry.kind == "members":
            try:
                decode_membership(entry.body)
            except msgspec.MsgspecError as error:
                return f"the membership of entry {entry.index} cannot be read: {error}"
        last, epoch, time_ms = entry.index, entry.epoch, entry.time_ms
    if isinstance(reply, Promise) and (entries or snapshot is not None):
        if (last, epoch) != (state.last_index, state.last_epoch):
            return f"its journal ends at {last} of epoch {epoch}, and it says otherwise"
    elif isinstance(reply, Promise) and state.last_index > request.have_index:
        return f"it has {state.last_index} entries, and keeps back those after {request.have_index}"
    return ""
