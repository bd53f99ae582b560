# SPDX-License-Identifier: Apache-2.0
"""Readmission of a new store: only of one that is there while a majority confirms the term."""

from __future__ import annotations

from tests.unit.quorum.test_founding import World, active
from tests.unit.quorum.test_rollback import ALL
from tmr.quorum.entries import Membership
from tmr.quorum.messages import Append, NotVoting, Subscribe
from tmr.quorum.outputs import Send
from tmr.quorum.proposer import Proposer


def members(twin: Proposer) -> Membership:
    found = twin.log.membership
    assert found is not None
    return found


def new_store_answers(world: World, twin: Proposer, sent_at: float) -> None:
    """The store that is on up3 answers a question that was sent then."""
    acceptor = world.upstreams[2].acceptor
    question = Append(twin.epoch, twin.owner, 2_000, 0, 0, (), 0)
    answer = NotVoting(acceptor.state(1_800_000_000_000), twin.epoch, twin.owner, new_store=True)
    twin.receive(world.now, 2, sent_at, question, answer)


def others_answer(world: World, twin: Proposer) -> None:
    """What the twin has to send reaches up1 and up2; what it has for up3 is under way."""
    for send in twin.take():
        if isinstance(send, Send) and send.replica != 2 and not isinstance(send.request, Subscribe):
            world.exchange(twin, send)


def test_a_store_that_is_there_is_readmitted_within_a_lease() -> None:
    world, twin, _ = active()
    old = world.upstreams[2].durable.replica_id
    world.exchange_stores(2)
    world.let(twin, 2.0, ALL)
    assert members(twin).retired[-1] == old
    assert world.upstreams[2].acceptor.voting


def test_a_store_answers_before_and_after_a_majority_confirms_the_term() -> None:
    world, twin, _ = active()
    before = members(twin)
    world.exchange_stores(2)
    twin.take()
    for _ in range(5):
        new_store_answers(world, twin, world.now)
        assert members(twin) == before, "nobody else has confirmed the term since the first answer"
    sent_at = world.now
    world.now += 0.1
    others_answer(world, twin)
    world.now += 0.1
    for _ in range(3):
        new_store_answers(world, twin, sent_at)
        assert members(twin) == before, "it may have answered before the others did"
    world.now += 0.1
    new_store_answers(world, twin, world.now)
    assert members(twin) == before.replacing(2, world.upstreams[2].durable.replica_id)


def test_an_answer_that_waited_while_the_machine_stood_still_replaces_no_member() -> None:
    """The twin's clock shows no time between question and answer, and the member has its store again."""
    world, twin, _ = active()
    before = members(twin)
    former = world.exchange_stores(2)
    twin.take()
    new_store_answers(world, twin, world.now)
    world.upstreams[2].put_back(former[0], world.now)
    world.let(twin, 3.0, ALL)
    assert twin.holds(world.now)
    assert members(twin) == before
    assert world.upstreams[2].acceptor.log.last == twin.log.last


def test_what_a_store_answered_in_an_earlier_term_does_not_count() -> None:
    world, twin, _ = active()
    world.exchange_stores(2)
    twin.take()
    new_store_answers(world, twin, world.now)
    world.now += 0.1
    others_answer(world, twin)
    new_store_answers(world, twin, world.now)
    twin.retire(world.now, "handed over")
    twin.take()
    assert world.elects(twin, frozenset((0, 1)))
    before = members(twin)
    new_store_answers(world, twin, world.now)
    assert members(twin) == before
