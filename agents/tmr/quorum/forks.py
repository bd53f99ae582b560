# SPDX-License-Identifier: Apache-2.0
"""Journals that forked within one epoch: two processes wrote in one term, one of them a copy of the other.

An epoch has one owner, so that two entries of one index and one epoch are the same. A copy of a running
twin's memory breaks that: it is the owner, too, until it is found (`message_order.py`). What a majority has
counts.
"""

from collections.abc import Iterator, Mapping

from tmr.quorum.entries import Entry, checksum
from tmr.quorum.log import Log
from tmr.quorum.majority import is_all
from tmr.quorum.messages import Promise, ReplicaState


def differ(one: Promise, other: Promise) -> bool:
    """At some index both have an entry of the same epoch, and the entries differ."""
    known = {entry.index: entry for entry in one.entries}
    return any(_forked(known.get(entry.index), entry) for entry in other.entries)


def from_committed(log: Log, commit: int, promise: Promise) -> bool:
    """The promise has another entry than the log, at an index that is committed in that."""
    return any(_forked(own, entry) for own, entry in _at_committed(log, commit, promise))


def from_promised(promises: Mapping[int, Promise]) -> frozenset[int]:
    """Replicas that have another entry where a second replica has an entry that it knows to be committed."""
    return frozenset(
        replica
        for replica, promise in promises.items()
        if any(_without_committed(promise, other) for at, other in promises.items() if at != replica)
    )


def _without_committed(promise: Promise, other: Promise) -> bool:
    """The promise has another entry at an index that is committed in the other, or ends its snapshot."""
    committed = {entry.index: entry for entry in other.entries if entry.index <= other.state.commit}
    if any(_forked(committed.get(entry.index), entry) for entry in promise.entries):
        return True
    end = other.snapshot
    return end is not None and any(
        (entry.index, entry.epoch) == (end.index, end.epoch) and end.checksum not in (b"", checksum(entry))
        for entry in promise.entries
    )


def replaces(log: Log, commit: int, promise: Promise) -> bool:
    """The promise has another entry than the log, of whatever epoch, at an index that is committed in that.

    Operators gave up what this twin still knows, or a majority of the replicas is of another past. A journal
    that ends before what is committed shows no entries; if it goes on with a later epoch, it lacks that: each
    later term begins behind all that is committed.
    """
    return superseded(log, commit, promise.state) or any(
        own != entry for own, entry in _at_committed(log, commit, promise)
    )


def superseded(log: Log, commit: int, ends: ReplicaState) -> bool:
    """The replica's journal ends before what is committed in the log, with an entry of a later epoch."""
    return ends.last_index <= commit and ends.last_epoch > (log.epoch_at(commit) or 0)


def contradicted(promises: Mapping[int, Promise]) -> frozenset[int] | None:
    """Slots of promises whose journals have another entry where the two others have the same.

    None: two journals differ, and the third is not there to say which entry a majority may have.
    """
    replicas = list(promises)
    forked = any(differ(promises[a], promises[b]) for a in replicas for b in replicas if a < b)
    if not forked:
        return frozenset()
    if not is_all(replicas):
        return None
    journals = {replica: {entry.index: entry for entry in one.entries} for replica, one in promises.items()}
    found = set[int]()
    for replica, journal in journals.items():
        one, other = (journals[at] for at in replicas if at != replica)
        common = [index for index in journal if index in one and one[index] == other.get(index)]
        if any(_forked(one[index], journal[index]) for index in common):
            found.add(replica)
    return frozenset(found)


def _forked(one: Entry | None, other: Entry) -> bool:
    return one is not None and one.epoch == other.epoch and one != other


def _at_committed(log: Log, commit: int, promise: Promise) -> Iterator[tuple[Entry, Entry]]:
    """The log's committed entries that the promise has an entry for, each with that entry."""
    return ((log[entry.index], entry) for entry in promise.entries if log.base < entry.index <= commit)
