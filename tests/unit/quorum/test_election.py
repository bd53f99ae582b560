# SPDX-License-Identifier: Apache-2.0
"""Elections while upstreams come and go: what was granted is kept, or given back for good."""

import msgspec
import pytest

from tmr.ledger import Ledger
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import Durable, PromiseWrite, ReleaseWrite
from tmr.quorum.entries import Membership, ProposerId, Snapshot
from tmr.quorum.lease import Timing
from tmr.quorum.messages import (
    Acquire,
    Append,
    Busy,
    Fenced,
    PreVote,
    Promise,
    Release,
    Released,
    ReplicaState,
    Reply,
    Subscribe,
)
from tmr.quorum.outputs import Send
from tmr.quorum.proposer import Proposer

A, B = ProposerId("tmr1", "a"), ProposerId("tmr2", "b")
DISKS = ("disk-0", "disk-1", "disk-2")
FOUNDED = Snapshot(0, 0, 0, Membership(DISKS), b"")
WALL = 1_800_000_000_000
TTL = 2.0


def started(durable: Durable, now: float = 0.0) -> Acceptor:
    return Acceptor(durable, Ledger(), now, TTL)


def new() -> Durable:
    return Durable(DISKS[0], voting=True, snapshot=FOUNDED)


def acquire(owner: ProposerId, epoch: int, *, pre_vote: bool = False) -> Acquire:
    return Acquire(epoch, owner, 2_000, pre_vote=pre_vote)


def ask(acceptor: Acceptor, now: float, message: Acquire | Append) -> Reply:
    return acceptor.handle(now, WALL, message).reply


# -- the upstream --------------------------------------------------------------------------------------------


def test_a_lease_that_was_given_back_is_free_after_a_restart() -> None:
    durable = new()
    before = started(durable)
    assert before.handle(1.0, WALL, acquire(A, 2)).writes == [PromiseWrite(2, A, 2_000)]
    durable.promised, durable.owner, durable.granted_ms = 2, A, 2_000
    assert started(durable, 1.1).blocked(1.2, B), "it may have been renewed right before"
    answer = before.handle(1.1, WALL, Release(2, A))
    assert answer.writes == [ReleaseWrite(2)], "on disk before it is answered"
    durable.released = True
    after = started(durable, 1.2)
    assert isinstance(ask(after, 1.3, acquire(B, 3, pre_vote=True)), PreVote)


def test_what_was_given_back_stays_so_after_a_restart() -> None:
    after = started(msgspec.structs.replace(new(), promised=2, owner=A, granted_ms=2_000, released=True))
    late = Append(2, A, 2_000, 0, 0, (), 0)
    assert isinstance(ask(after, 1.0, late), Fenced)
    assert isinstance(ask(after, 1.0, acquire(A, 2)), Fenced)
    assert after.live_holder(1.0) is None


def test_a_release_is_written_once_and_only_by_its_owner() -> None:
    acceptor = started(new())
    ask(acceptor, 1.0, acquire(A, 2))
    for stranger in (Release(2, B), Release(2, ProposerId("tmr1", "before")), Release(0, A)):
        answer = acceptor.handle(1.0, WALL, stranger)
        assert (isinstance(answer.reply, Released), answer.writes) == (True, [])
    assert acceptor.live_holder(1.0) == A
    assert acceptor.handle(1.0, WALL, Release(2, A)).writes == [ReleaseWrite(2)]
    assert acceptor.handle(1.0, WALL, Release(2, A)).writes == []


def test_a_candidate_that_has_not_heard_its_promise_is_promised_again() -> None:
    acceptor = started(new())
    ask(acceptor, 1.0, acquire(A, 2))
    again = acceptor.handle(1.5, WALL, acquire(A, 2))
    assert (isinstance(again.reply, Promise), again.writes) == (True, [])
    assert isinstance(ask(acceptor, 1.6, acquire(ProposerId("tmr1", "another run"), 2)), Fenced)
    assert isinstance(ask(acceptor, 1.6, acquire(A, 2, pre_vote=True)), Fenced)


# -- the twin ------------------------------------------------------------------------------------------------


class Upstreams:
    """The three, as far as a test lets them answer."""

    def __init__(self, twin: Proposer) -> None:
        self.twin = twin
        self.acceptors = [started(Durable(disk, voting=True, snapshot=FOUNDED)) for disk in DISKS]

    def tick(self, now: float) -> list[Send]:
        self.twin.tick(now)
        return self.sent()

    def sent(self) -> list[Send]:
        sends = [output for output in self.twin.take() if isinstance(output, Send)]
        return [send for send in sends if not isinstance(send.request, Subscribe)]

    def answer(self, now: float, send: Send) -> Reply:
        reply = self.acceptors[send.replica].handle(now, WALL, send.request).reply
        self.twin.receive(now, send.replica, send.at, send.request, reply)
        return reply

    def refuse(self, send: Send) -> None:
        self.twin.failed(send.replica, send.at, send.request)


@pytest.fixture
def twin() -> Proposer:
    return Proposer(A, 0, ("up1", "up2", "up3"), Ledger(), Timing(ttl=TTL), 0.0, lambda: 0.5)


def candidate(twin: Proposer) -> tuple[Upstreams, float]:
    """One promise, of up1; the two others have failed. And the time."""
    upstreams, now = Upstreams(twin), 0.2
    for send in upstreams.tick(now):
        upstreams.answer(now, send)
    assert twin.role == "candidate"
    first, *others = upstreams.sent()[-3:]
    upstreams.answer(now, first)
    for send in others:
        upstreams.refuse(send)
    return upstreams, now


def test_an_upstream_that_failed_is_asked_again_within_the_election(twin: Proposer) -> None:
    upstreams, now = candidate(twin)
    assert upstreams.tick(now + 0.05) == [], "not at once"
    again = upstreams.tick(now + twin.timing.again)
    assert [(send.replica, send.request) for send in again] == [
        (slot, msgspec.structs.replace(acquire(A, twin.epoch), ttl_ms=2_000, number=number))
        for slot, number in ((1, 7), (2, 8))
    ], "by the same candidacy: the promise of the first still counts"
    upstreams.answer(now + 0.2, again[1])
    assert twin.role == "active"


def test_a_probe_is_repeated_when_another_lease_has_ended(twin: Proposer) -> None:
    upstreams, now = Upstreams(twin), 0.2
    for acceptor in upstreams.acceptors:
        ask(acceptor, 0.0, acquire(B, 1))
        acceptor.holder_until = now + 0.2
    replies = [upstreams.answer(now, send) for send in upstreams.tick(now)]
    assert all(isinstance(reply, Busy) for reply in replies)
    assert upstreams.tick(now + 0.15) == []
    for send in upstreams.tick(now + 0.21):
        assert isinstance(send.request, Acquire)
        upstreams.answer(now + 0.21, send)
    assert twin.role == "candidate"


def test_a_candidate_gives_back_what_it_was_granted_for_nothing(twin: Proposer) -> None:
    upstreams, now = candidate(twin)
    epoch, sends = twin.epoch, list[Send]()
    while twin.role == "candidate":
        now += 0.05
        sends = upstreams.tick(now)
        for send in sends:
            upstreams.refuse(send)
    assert now < 0.2 + TTL, "before what it was granted has ended by itself"
    assert [send.request for send in sends] == [Release(epoch, A)] * 3
    upstreams.answer(now, sends[0])
    assert isinstance(ask(upstreams.acceptors[0], now, acquire(B, epoch + 1)), Promise)


def test_a_candidate_that_may_not_be_elected_any_more_gives_back(twin: Proposer) -> None:
    upstreams, now = candidate(twin)
    twin.eligible = False
    assert upstreams.tick(now + twin.timing.again) == [], "nobody else is asked"
    sends = upstreams.tick(now + 1.0)
    assert [send.request for send in sends] == [Release(twin.epoch, A)] * 3
    assert twin.role == "passive"


def test_an_active_asks_an_upstream_that_failed_before_its_next_renewal(twin: Proposer) -> None:
    upstreams, now = candidate(twin)
    for send in upstreams.tick(now + twin.timing.again):
        upstreams.answer(now + twin.timing.again, send)
    assert twin.role == "active"
    now += twin.timing.again
    for send in upstreams.sent():
        upstreams.refuse(send)
    assert {send.replica for send in upstreams.tick(now + 1.1 * twin.timing.again)} == {0, 1, 2}
    assert twin.timing.again < twin.timing.renewal / 2


def test_a_system_is_founded_on_one_and_the_same_probe(twin: Proposer) -> None:
    upstreams, now = Upstreams(twin), 0.2
    upstreams.acceptors = [started(Durable(disk)) for disk in DISKS]
    first, second, third = upstreams.tick(now)
    upstreams.answer(now, first)
    upstreams.answer(now, second)
    upstreams.refuse(third)
    (again,) = upstreams.tick(now + twin.timing.again)
    upstreams.answer(now + twin.timing.again, again)
    assert upstreams.sent() == [], "the two others may have got other disks meanwhile"
    now += 1.0
    for send in upstreams.tick(now):
        upstreams.answer(now, send)
    assert len(upstreams.sent()) == 3
    assert isinstance(twin.replicas[0].state, ReplicaState)
