# SPDX-License-Identifier: Apache-2.0
"""A twin takes an upstream for what it answered last, and no answer for more than it says."""

from tmr.ledger import Ledger
from tmr.quorum.entries import Membership, ProposerId, Snapshot
from tmr.quorum.lease import Timing
from tmr.quorum.log import Log
from tmr.quorum.messages import (
    Acquire,
    Append,
    Appended,
    Bootstrap,
    Conflict,
    NotVoting,
    PreVote,
    Promise,
    ReplicaState,
    RequestRefused,
    Subscribe,
    Subscribed,
)
from tmr.quorum.outputs import Send
from tmr.quorum.proposer import Proposer

ME = ProposerId("tmr1", "life-1")
DISKS = ("disk-0", "disk-1", "disk-2")
WALL = 1_800_000_000_000


def member(slot: int, *, container: str = "first", promised: int = 0, last: int = 0) -> ReplicaState:
    return ReplicaState(DISKS[slot], True, promised, last, 0, last, WALL, container=container)


def started() -> Proposer:
    twin = Proposer(ME, 0, ("up1", "up2", "up3"), Ledger(), Timing(ttl=2.0), 100.0, lambda: 0.5)
    twin.log = Log.after(Snapshot(0, 0, 0, Membership(DISKS), b""))
    twin.tick(100.0)
    twin.take()
    for slot in range(3):
        follow = Subscribe(ME, 0, 0, "?", 0)
        twin.receive(100.0, slot, 100.0, follow, Subscribed(member(slot), ME, "", 0, 0, None, ()))
    return twin


def elected(now: float = 130.0) -> Proposer:
    """By up1 and up2, long after all three were heard."""
    twin = started()
    twin.tick(now)
    twin.take()
    for slot in (0, 1):
        probe = Acquire(twin.epoch, ME, 2000, pre_vote=True)
        twin.receive(now, slot, now, probe, PreVote(member(slot), twin.epoch, ME))
    for slot in (0, 1):
        ask = Acquire(twin.epoch, ME, 2000)
        promise = Promise(member(slot, promised=twin.epoch), twin.epoch, ME, None, ())
        twin.receive(now, slot, now, ask, promise)
    assert twin.role == "active"
    return twin


def sent(twin: Proposer, slot: int, kind: type) -> Send:
    found = [one for one in twin.take() if isinstance(one, Send) and one.replica == slot]
    return next(one for one in found if isinstance(one.request, kind))


def test_who_was_heard_long_ago_is_not_taken_to_be_there_in_a_new_term() -> None:
    assert started().replicas[2].reachable
    twin = elected()
    assert [progress.reachable for progress in twin.replicas] == [True, True, False]
    late = Subscribe(ME, 0, 0, "?", 0)
    twin.receive(130.1, 2, 100.0, late, Subscribed(member(2), ME, "", 0, 0, None, ()))
    assert not twin.replicas[2].reachable, "a poll may have waited for long"


def test_an_answer_to_what_failed_does_not_say_that_it_is_there() -> None:
    twin = elected()
    question = Append(twin.epoch, ME, 2000, 0, 0, (), 0)
    twin.failed(0, 130.0, question)
    assert not twin.replicas[0].reachable
    twin.receive(131.2, 0, 130.0, question, Appended(member(0, promised=twin.epoch), twin.epoch, ME, 0))
    assert not twin.replicas[0].reachable
    twin.receive(131.3, 0, 131.2, question, Appended(member(0, promised=twin.epoch), twin.epoch, ME, 0))
    assert twin.replicas[0].reachable


def test_a_late_answer_does_not_bring_a_former_container_back() -> None:
    twin = elected()
    question = Append(twin.epoch, ME, 2000, 0, 0, (), 0)
    new = member(1, container="second", promised=twin.epoch)
    twin.receive(130.5, 1, 130.4, question, Appended(new, twin.epoch, ME, 0))
    old = member(1, container="first", promised=twin.epoch)
    twin.receive(130.6, 1, 130.1, question, Appended(old, twin.epoch, ME, 0))
    found = twin.replicas[1].state
    assert found is not None
    assert found.container == "second"


def test_who_refuses_the_journal_is_an_alarm_until_it_takes_it() -> None:
    twin = elected()
    question = sent(twin, 0, Append).request
    assert isinstance(question, Append)
    assert len(question.entries) == 1
    header = member(0, promised=twin.epoch)
    twin.receive(130.1, 0, 130.0, question, RequestRefused(header, "it does not follow"))
    assert twin.replicas[0].alarm == "it does not follow"
    empty = Append(twin.epoch, ME, 2000, 1, twin.epoch, (), 0)
    twin.receive(130.2, 0, 130.1, empty, Conflict(header, twin.epoch, ME, 0))
    assert twin.replicas[0].alarm == "it does not follow", (
        "that it answers at all does not mean that it took it"
    )
    assert twin.replicas[0].refused_upto == 1
    twin.receive(130.4, 0, 130.3, question, Appended(header, twin.epoch, ME, 1))
    assert twin.replicas[0].alarm == ""
    assert twin.replicas[0].refused_upto is None


def test_a_system_is_founded_on_three_answers_to_one_probe() -> None:
    """Two were new when they were heard last; only the third says so now."""
    twin = Proposer(ME, 0, ("up1", "up2", "up3"), Ledger(), Timing(ttl=2.0), 100.0, lambda: 0.5)
    new = [ReplicaState(disk, False, 0, 0, 0, 0, WALL) for disk in DISKS]
    follow = Subscribe(ME, 0, 0, "?", 0)
    for slot in range(3):
        twin.receive(100.0, slot, 100.0, follow, Subscribed(new[slot], ME, "", 0, 0, None, ()))
    twin.tick(130.0)
    assert twin.role == "pre-candidate"
    probe = Acquire(twin.epoch, ME, 2000, pre_vote=True)
    sent_at = {one.replica: one.at for one in twin.take() if isinstance(one, Send)}
    founds = []
    for slot in range(3):
        twin.receive(130.1, slot, sent_at[slot], probe, NotVoting(new[slot], twin.epoch, ME, new_store=True))
        founds.append(
            any(isinstance(one, Send) and isinstance(one.request, Bootstrap) for one in twin.take())
        )
    assert founds == [False, False, True]
