# SPDX-License-Identifier: Apache-2.0
"""Commitment of entries, and confirmation of reads: what a majority of the replicas has. Pure.

An entry is committed once a majority has stored it *and* it is of the proposer's own epoch; older ones are
committed with the entries that follow them (Raft, section 5.4.2, and its figure 8: an older entry that two
replicas have may still be replaced). The commit index never falls.
"""

from collections.abc import Callable, Iterable

from tmr.quorum.majority import reached


def commit_index(match_indices: Iterable[int], known: int, counts: Callable[[int], bool]) -> int:
    """The commit index after replicas have stored the journal up to `match_indices`; it was `known`.

    `counts(index)`: the entry there is of the own epoch.
    """
    stored = reached(match_indices, 0)
    return stored if stored > known and counts(stored) else known


def confirmed_since(confirmed_at: Iterable[float]) -> float:
    """The latest moment at which this proposer certainly was the only active proposer; -inf: none.

    `confirmed_at`: for each replica, the time at which the last message was sent that it took as a message of
    this term. A majority took theirs, so no other proposer had been elected when the second newest was sent
    (ReadIndex, section 6.4 of the dissertation on Raft).
    """
    return reached(confirmed_at, float("-inf"))
