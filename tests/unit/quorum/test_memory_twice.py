# SPDX-License-Identifier: Apache-2.0
"""One run of a twin acts twice: a copy of its running machine is beside it, or in its place."""

from __future__ import annotations

import copy

import pytest

from tests.unit.quorum.test_rollback import ALL, DISKS, System
from tmr.ledger import Ledger, RecordDenials
from tmr.ledger import encode as encode_command
from tmr.quorum import forks
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import Durable
from tmr.quorum.entries import Entry, Membership, ProposerId, Snapshot
from tmr.quorum.log import Log
from tmr.quorum.majority import MAJORITY
from tmr.quorum.message_order import RUNS, CopiedTwin, MessageOrder, OwnOrder
from tmr.quorum.messages import (
    Acquire,
    Append,
    Appended,
    Conflict,
    Install,
    PreVote,
    Promise,
    Release,
    ReplicaState,
    RequestRefused,
)
from tmr.quorum.proposer import Proposer

A = ProposerId("tmr1", "a")
FOUNDED = Snapshot(0, 0, 0, Membership(DISKS), b"")
WALL = 1_800_000_000_000
NOTE = encode_command(RecordDenials(()))


def entry(index: int, epoch: int = 2, time_ms: int = WALL) -> Entry:
    return Entry(index, epoch, time_ms, "command", NOTE)


def append(
    previous: int,
    *entries: Entry,
    epoch: int = 2,
    number: int = 0,
    known: Entry | None = None,
) -> Append:
    """After `known`, if that is given: the entry at `previous`."""
    before = Snapshot(previous - 1, epoch, 0, None, b"") if known else FOUNDED
    log = Log.after(before, [known] if known else [])
    at = (previous, known.epoch if known else 0)
    known_sum = log.sum_at(previous)
    return Append(epoch, A, 2_000, *at, entries, 0, number=number, previous_sum=known_sum)


def upstream(*entries: Entry, commit: int = 0) -> Acceptor:
    return Acceptor(Durable("disk-0", True, 2, A, FOUNDED, list(entries), commit), Ledger(), 100.0, 2.0)


def handle(acceptor: Acceptor, message: Acquire | Append | Release) -> object:
    return acceptor.handle(100.0, WALL, message).reply


def refused(reply: object) -> str:
    assert isinstance(reply, RequestRefused)
    return reply.reason


# -- the order of messages -----------------------------------------------------------------------------------


def test_a_lower_number_is_late_and_so_are_other_words_of_the_same_one() -> None:
    order = MessageOrder()
    assert not order.is_late(append(0, number=5))
    assert not order.is_late(append(0, number=5)), "the same message once more"
    assert order.is_late(append(0, entry(1), number=5))
    assert order.is_late(Acquire(4, A, 2_000, number=4))
    assert not order.is_late(append(0, number=7))
    assert not order.is_late(append(0)), "what has no number is not ordered"
    assert not order.is_late(Acquire(4, ProposerId("tmr1", "b"), 2_000, number=1)), "another run"
    large = Install(2, A, 2_000, Snapshot(3, 2, WALL, None, b"state"), number=9)
    assert not order.is_late(large)
    assert not order.is_late(large)


def test_what_is_kept_of_runs_is_bounded() -> None:
    order = MessageOrder()
    for number in range(10 * RUNS):
        order.is_late(Acquire(4, ProposerId("tmr1", str(number)), 2_000, number=2))
        order.is_late(Acquire(4, ProposerId("tmr1", str(number)), 2_000, number=1))
    assert len(order._last) == len(order._late) == RUNS


def test_a_late_message_changes_nothing_and_renews_no_lease() -> None:
    acceptor = upstream(entry(1), commit=1)
    assert isinstance(handle(acceptor, append(1, number=8, known=entry(1))), Appended)
    acceptor.holder_until = 100.5
    assert "a later message" in refused(handle(acceptor, append(1, entry(2), number=7, known=entry(1))))
    assert acceptor.log.last == 1
    assert acceptor.holder_until == 100.5
    assert acceptor.refused == "", "it may have been long under way: no alarm"


def test_a_run_that_may_be_two_gives_no_lease_back() -> None:
    acceptor = upstream()
    handle(acceptor, append(0, number=8))
    handle(acceptor, append(0, number=7))
    handle(acceptor, Release(2, A))
    assert acceptor.live_holder(100.0) == A


def test_a_late_message_of_an_earlier_term_takes_no_release() -> None:
    acceptor = upstream()
    handle(acceptor, append(0, number=8))
    handle(acceptor, append(0, number=7))
    acceptor.handle(103.0, WALL, Acquire(4, A, 2_000, number=9))
    assert acceptor.live_holder(103.0) == A
    acceptor.handle(103.0, WALL, Release(4, A))
    assert acceptor.live_holder(103.0) is None


def test_a_late_pre_vote_takes_no_release() -> None:
    """It was sent before the candidacy, and may be slower."""
    acceptor = upstream()
    handle(acceptor, Acquire(4, A, 2_000, number=6))
    assert "a later message" in refused(handle(acceptor, Acquire(4, A, 2_000, pre_vote=True, number=5)))
    handle(acceptor, Release(4, A))
    assert acceptor.live_holder(100.0) is None


def test_one_upstream_ends_no_twin() -> None:
    order = OwnOrder()
    assert [order.next(), order.next()] == [1, 2]
    for slot in (0, 0, 0):
        order.answered(slot, late=True)
    order.answered(0, late=False)
    order.answered(1, late=True)
    assert MAJORITY == 2
    with pytest.raises(CopiedTwin):
        order.answered(2, late=True)


# -- entries -------------------------------------------------------------------------------------------------


def test_another_entry_of_the_term_is_refused_and_a_later_term_replaces_it() -> None:
    mine, other = entry(2), entry(2, time_ms=WALL + 1)
    acceptor = upstream(entry(1), other, commit=1)
    for message in (append(1, mine, known=entry(1)), append(2, entry(3, time_ms=WALL + 2), known=mine)):
        assert "two act in one term" in refused(handle(acceptor, message))
    assert isinstance(handle(acceptor, append(2, known=other)), Appended), "the same entry is the same"
    later = entry(3, 4, WALL + 2)
    conflict = handle(acceptor, append(2, later, epoch=4, known=mine))
    assert isinstance(conflict, Conflict)
    assert conflict.retry_index == 1
    assert isinstance(handle(acceptor, append(1, mine, later, epoch=4, known=entry(1))), Appended)
    assert [acceptor.log[2], acceptor.log[3]] == [mine, later]


def test_an_entry_of_the_term_is_not_cut_for_one_of_an_earlier_term() -> None:
    """The two promises of a copy may have shown it another end of the journal than those of the original."""
    began = entry(2, 2, WALL + 1)
    acceptor = upstream(entry(1, 1), began, commit=1)
    message = append(1, entry(2, 1), entry(3, 2, WALL + 2), epoch=2, known=entry(1, 1))
    assert "two act in one term" in refused(handle(acceptor, message))
    assert acceptor.log[2] == began


def test_what_is_committed_is_replaced_by_nobody() -> None:
    acceptor = upstream(entry(1), entry(2), commit=2)
    message = append(1, entry(2, time_ms=WALL + 1), entry(3, 4, WALL + 1), epoch=4, known=entry(1))
    assert "is committed here" in refused(handle(acceptor, message))


def test_what_a_snapshot_covers_is_not_confirmed() -> None:
    """It cannot be compared any more: the sender goes on behind it."""
    durable = Durable("disk-0", True, 2, A, Snapshot(3, 2, WALL, Membership(DISKS), b""), [], 3)
    acceptor = Acceptor(durable, Ledger(), 100.0, 2.0)
    conflict = handle(acceptor, append(1, entry(2), entry(3), known=entry(1)))
    assert isinstance(conflict, Conflict)
    assert conflict.retry_index == 3


def test_a_snapshot_says_which_entry_it_ends_with() -> None:
    log = Log.after(FOUNDED, [entry(1), entry(2)])
    known = log.sum_at(2)
    assert known
    assert log.sum_at(3) == b""
    log.compact(2)
    assert log.sum_at(2) == known
    assert Log.after(Snapshot(2, 2, WALL, None, b"", checksum=known)).sum_at(2) == known


def test_a_candidate_that_knows_another_entry_is_sent_the_whole_journal() -> None:
    acceptor = upstream(entry(1), entry(2), entry(3))
    other = Log.after(FOUNDED, [entry(1), entry(2, time_ms=WALL + 1)]).sum_at(2)
    promise = handle(acceptor, Acquire(4, A, 2_000, 2, 2, have_sum=other))
    assert isinstance(promise, Promise)
    assert [one.index for one in promise.entries] == [1, 2, 3]


# -- forks ---------------------------------------------------------------------------------------------------


def promised(*entries: Entry, commit: int = 0, snapshot: Snapshot | None = None) -> Promise:
    last = entries[-1] if entries else entry(0, 0)
    state = ReplicaState("disk", True, 4, last.index, last.epoch, commit, WALL)
    return Promise(state, 4, A, snapshot, entries)


MINE, OTHER = entry(2), entry(2, time_ms=WALL + 1)


def test_of_a_fork_counts_what_two_have() -> None:
    one, other = promised(entry(1), MINE), promised(entry(1), OTHER, entry(3, time_ms=WALL + 2))
    assert forks.contradicted({0: one, 1: one}) == frozenset()
    assert forks.contradicted({0: one, 2: other}) is None
    assert forks.contradicted({0: one, 1: one, 2: other}) == frozenset((2,))
    assert forks.contradicted({0: one, 1: promised(entry(1)), 2: other}) == frozenset(), "committed nowhere"
    assert forks.contradicted({0: one, 1: promised(entry(1), entry(2, 3))}) == frozenset(), "another epoch"


def test_what_is_known_to_be_committed_tells_a_fork() -> None:
    log = Log.after(FOUNDED, [entry(1), MINE])
    assert forks.from_committed(log, 2, promised(entry(1), OTHER))
    assert not forks.from_committed(log, 1, promised(entry(1), OTHER))
    assert not forks.from_committed(log, 2, promised(entry(1), MINE, entry(3)))


def test_what_another_upstream_knows_to_be_committed_tells_a_fork() -> None:
    longer = promised(entry(1), OTHER, entry(3, time_ms=WALL + 2))
    assert forks.from_promised({0: promised(entry(1), MINE), 2: longer}) == frozenset()
    assert forks.from_promised({0: promised(entry(1), MINE, commit=1), 2: longer}) == frozenset()
    assert forks.from_promised({0: promised(entry(1), MINE, commit=2), 2: longer}) == frozenset((2,))
    assert forks.from_promised({0: promised(entry(1), MINE, commit=2), 1: promised(MINE)}) == frozenset()


def test_the_end_of_a_snapshot_tells_a_fork() -> None:
    known = Log.after(Snapshot(1, 2, WALL, None, b""), [MINE]).sum_at(2)
    behind = promised(entry(3), snapshot=Snapshot(2, 2, WALL, None, b"", checksum=known))
    assert forks.from_promised({0: behind, 2: promised(entry(1), OTHER)}) == frozenset((2,))
    assert forks.from_promised({0: behind, 2: promised(entry(1), MINE)}) == frozenset()


# -- the whole ---------------------------------------------------------------------------------------------


def twice() -> tuple[System, Proposer, Proposer]:
    system = System()
    twin = system.twin("tmr1", 0)
    assert system.elects(twin)
    return system, twin, copy.deepcopy(twin)


def test_a_copy_beside_the_running_twin_ends() -> None:
    system, twin, other = twice()
    twin.submit(system.now, NOTE)
    system.let(twin, 0.1)
    other.submit(system.now, NOTE)
    with pytest.raises(CopiedTwin):
        system.let(other, 1.0)
    system.let(twin, 1.0)
    assert twin.holds(system.now)
    assert {one.acceptor.log.last for one in system.upstreams} == {twin.commit}


def test_the_running_twin_ends_where_its_copy_is_ahead() -> None:
    system, twin, other = twice()
    before = twin.commit
    for _ in range(3):
        other.submit(system.now, NOTE)
        system.let(other, 0.1)
    twin.submit(system.now, NOTE)
    with pytest.raises(CopiedTwin):
        system.let(twin, 1.0)
    assert twin.commit == before, "nothing is committed beside the other's"
    assert other.commit == before + 3


def test_an_upstream_with_more_of_the_term_confirms_nothing() -> None:
    """Two have forgotten the numbers, with their restart, and have entries that the twin never wrote."""
    system, twin, other = twice()
    other.submit(system.now, NOTE)
    system.let(other, 0.2)
    for one in system.upstreams:
        one.start(system.now)
    mark = twin.read_mark(system.now)
    twin.demand_round(system.now)
    with pytest.raises(CopiedTwin):
        system.let(twin, 0.5, ALL)
    assert twin.confirmed < mark


def test_a_pre_vote_is_numbered_too() -> None:
    acceptor = upstream()
    owner = ProposerId("tmr2", "b")
    acceptor.holder_until = 99.0
    assert isinstance(handle(acceptor, Acquire(5, owner, 2_000, pre_vote=True, number=3)), PreVote)
    assert "a later message" in refused(handle(acceptor, Acquire(5, owner, 2_000, number=2)))
