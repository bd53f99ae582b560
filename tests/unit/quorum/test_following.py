# SPDX-License-Identifier: Apache-2.0
"""The passive twin keeps one `Subscribe` under way to each upstream, whatever comes late or twice."""

from tmr.ledger import Ledger
from tmr.quorum.entries import ProposerId
from tmr.quorum.lease import Timing
from tmr.quorum.messages import ReplicaState, Subscribe, Subscribed
from tmr.quorum.outputs import Send
from tmr.quorum.proposer import Proposer

OWNER = ProposerId("tmr1", "run")


def follows(twin: Proposer) -> list[Send]:
    sent = [output for output in twin.take() if isinstance(output, Send)]
    return [one for one in sent if isinstance(one.request, Subscribe) and one.replica == 0]


def news(holder: str) -> Subscribed:
    member = ReplicaState("disk-0", True, 1, 0, 0, 0, 1_800_000_000_000)
    return Subscribed(member, OWNER, holder, 1, 500, None, ())


def twin_that_follows() -> tuple[Proposer, Send]:
    twin = Proposer(OWNER, 1, ("up1", "up2", "up3"), Ledger(), Timing(ttl=2.0), 0.0, lambda: 0.5)
    twin.tick(0.01)
    (first,) = follows(twin)
    return twin, first


def test_an_answer_that_comes_twice_starts_one_follow() -> None:
    twin, first = twin_that_follows()
    twin.receive(0.1, 0, first.at, first.request, news("tmr2"))
    twin.receive(0.2, 0, first.at, first.request, news("tmr2"))
    twin.tick(0.3)
    twin.tick(0.4)
    assert len(follows(twin)) == 1


def test_no_answer_starts_a_poll_and_a_tick_one_at_most() -> None:
    """Of two processes with one memory each ends the other's poll with its own."""
    twin, sent = twin_that_follows()
    for tick in range(1, 20):
        twin.receive(0.1 * tick, 0, sent.at, sent.request, news(("tmr2", "")[tick % 2]))
        assert not follows(twin)
        twin.tick(0.1 * tick + 0.05)
        (sent,) = follows(twin)
    twin.tick(2.0)
    assert not follows(twin), "one is under way"


def test_an_answer_after_the_time_out_starts_none() -> None:
    twin, first = twin_that_follows()
    twin.failed(0, first.at, first.request)
    twin.tick(0.1)
    (second,) = follows(twin)
    twin.receive(0.2, 0, first.at, first.request, news("tmr2"))
    twin.failed(0, first.at, first.request)
    twin.tick(0.3)
    assert not follows(twin)
    twin.receive(0.4, 0, second.at, second.request, news("tmr2"))
    twin.tick(0.5)
    assert len(follows(twin)) == 1


def test_who_does_not_answer_never_takes_the_feed_from_one_that_does() -> None:
    twin = Proposer(OWNER, 1, ("up1", "up2", "up3"), Ledger(), Timing(ttl=2.0), 0.0, lambda: 0.5)
    twin.eligible = False
    for slot in (1, 2):
        twin.replicas[slot].state = news("").state
    for now in (0.0, 10.0, 20.0):
        twin.tick(now + 0.01)
        sent = {one.replica: one for one in twin.take() if isinstance(one, Send)}
        # up1 is away; the others have nothing new for a while
        for slot in (1, 2):
            if slot in sent:
                request = sent[slot].request
                assert isinstance(request, Subscribe)
                twin.replicas[slot].subscribed = False
                twin.replicas[slot].reachable = True
        twin.failed(0, sent[0].at, sent[0].request)
    twin.tick(30.0)
    assert [progress.with_entries for progress in twin.replicas] == [False, True, False]
