# SPDX-License-Identifier: Apache-2.0
"""Founding of a journal: it distinguishes a system from one that is founded later on new stores.

The first entry of a journal is another one in each founding: it names the run of the twin that wrote it.
Epochs and indices begin anew, so two foundings could not be told apart by those. Pure.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import msgspec

from tmr.quorum.entries import Entry
from tmr.quorum.majority import MAJORITY


def founding_of(first: Entry) -> str:
    """The founding that a journal with this first entry is of."""
    return hashlib.sha256(msgspec.msgpack.encode(first)).hexdigest()[:16]


def prevailing(stated: Sequence[str]) -> str | None:
    """The founding that replicas state, "" where no replica has one yet.

    None: it cannot be told, since fewer than two answered, or they differ.
    """
    if len(stated) < MAJORITY:
        return None
    counted = Counter(filter(None, stated)).most_common(2)
    if len(counted) < 2:  # one founding at most
        return counted[0][0] if counted else ""
    (best, votes), _ = counted
    return best if votes >= MAJORITY else None


def confirmed(stated: Sequence[str]) -> bool:
    """Two replicas state the same, and none has been heard alone to have a founding.

    What is not stated may have been heard long ago: it confirms nothing.
    """
    votes = Counter(stated).most_common(1)
    return bool(votes) and votes[0][1] >= MAJORITY and (bool(votes[0][0]) or not any(stated))


def differ(one: str, other: str) -> bool:
    """Both foundings are known, and are not the same."""
    return bool(one and other and one != other)


def of_upstream(theirs: str, known: str) -> str:
    """Alarm of a twin: one replica has a store of another founding than the system."""
    return (
        f"its store is of another founding ({theirs}) than this system ({known}), and counts for nothing: an "
        "old store, or that of another system, was put there. Put its own store back; if that is lost, move "
        "the state directory away and start it: it then joins as a new member with a new container"
    )


def of_twin(theirs: str, own: str) -> str:
    """Alarm of a replica: a twin asks for a system of another founding."""
    return (
        f"it knows the founding {theirs}, and this store is of {own}: either the system was founded anew, "
        "and the twin has not been told (`tmr status` there says how), or this store is an old one"
    )
