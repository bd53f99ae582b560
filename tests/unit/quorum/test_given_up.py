# SPDX-License-Identifier: Apache-2.0
"""Entries that operators gave up are mirrored by no twin, although one upstream has them as committed.

Two upstreams were put back to copies of one moment, and the loss was accepted on both twins. The third
upstream comes back afterwards, before anybody renewed it.
"""

import pytest

from tests.unit.quorum.test_founding import World
from tests.unit.quorum.test_rollback import ALL, command
from tmr.quorum.messages import Subscribe
from tmr.quorum.outputs import Send
from tmr.quorum.proposer import Proposer
from tmr.twin.accept_loss import UNSEEN_EPOCHS
from tmr.twin.ledger_alarms import ledger_alarms

OLD = frozenset({0, 1})
THIRD = 2


def given_up(commands: int) -> tuple[World, Proposer, Proposer]:
    """The twin that the two old copies elected, and that has committed so many entries with these since; and
    the one that was active before, which ran on and knows the entries that were given up."""
    world = World()
    former = world.started(0, None)
    assert world.elects(former)
    copies = [world.upstreams[at].copy() for at in sorted(OLD)]
    for _ in range(3):
        command(world, former, ALL)
    lost = world.upstreams[THIRD].acceptor
    assert lost.commit == former.commit
    world.now += 10
    for at, copy in zip(sorted(OLD), copies, strict=True):
        world.upstreams[at].put_back(copy, world.now)
    active = world.started(1, None)
    assert world.elects(active, OLD)
    for _ in range(commands):
        command(world, active, OLD)
    assert lost.log.epoch_at(lost.commit) != active.log.epoch_at(lost.commit)
    return world, active, former


def answers(world: World, twin: Proposer, *order: int) -> None:
    """Polls that are under way are answered by these upstreams, in this order; all get new ones meanwhile."""
    for _ in range(3):
        world.now += 0.03
        twin.tick(world.now)
        sent = {one.replica: one for one in twin.take() if isinstance(one, Send)}
        for at in order:
            if at in sent and isinstance(sent[at].request, Subscribe):
                world.exchange(twin, sent[at])
            else:
                twin.replicas[at].subscribed = False


@pytest.mark.parametrize("commands", [0, 5])
@pytest.mark.parametrize("order", [(2, 0, 1), (2, 1, 0), (0, 2, 1), (1, 2), (2, 0)])
def test_a_twin_that_starts_mirrors_the_newest_term(commands: int, order: tuple[int, ...]) -> None:
    world, active, _ = given_up(commands)
    twin = world.started(0, None)
    answers(world, twin, *order)
    assert twin.commit > 0
    assert twin.log.epoch_at(twin.commit) == active.epoch
    assert list(twin.log.after_index(0)) == list(active.log.after_index(0, twin.commit))


@pytest.mark.parametrize("order", [(2,), (2, 2)])
def test_a_twin_that_hears_one_upstream_alone_mirrors_nothing(order: tuple[int, ...]) -> None:
    world, *_ = given_up(1)
    twin = world.started(0, None)
    answers(world, twin, *order)
    assert twin.commit == 0


def test_a_twin_that_knows_what_was_given_up_adopts_no_mixture() -> None:
    """The two upstreams' journals go on past the twin's anchor: their length says nothing."""
    world, active, former = given_up(6)
    active.retire(world.now, "test")
    world.let(active, 0.1)
    world.now += 5
    former.retire(world.now, "test")
    known = list(former.log.after_index(0))
    assert not world.elects(former, OLD, seconds=20.0)
    assert former.anchors.objection is not None
    assert former.anchors.objection.kind == "other"
    assert list(former.log.after_index(0)) == known
    journals = [list(one.acceptor.log.after_index(0)) for one in world.upstreams]
    assert journals[0] == journals[1]
    assert not [entry for entry in journals[0] if entry.epoch == former.epoch], "it wrote nothing"
    accepted = world.started(0, None)
    assert world.elects(accepted, OLD)


def without_a_term(used_up: int) -> tuple[World, Proposer, Proposer]:
    """The copies are older than the term that is given up: they have promised none of its epochs. The twin
    of that term, and the one of the same rank that the copies elected."""
    world = World()
    world.now += 10
    first = world.started(0, None)
    assert world.elects(first)
    copies = [world.upstreams[at].copy() for at in (1, 2)]
    first.retire(world.now, "test")
    world.let(first, 0.1)
    world.now += 5
    former = world.started(0, None)
    assert world.elects(former)
    for _ in range(3):
        command(world, former, ALL)
    world.now += 10
    for at, copy in zip((1, 2), copies, strict=True):
        world.upstreams[at].put_back(copy, world.now)
    world.now += 10
    active = world.started(0, None, used_up)
    assert world.elects(active, frozenset({1, 2}))
    command(world, active, frozenset({1, 2}))
    return world, former, active


def test_an_epoch_that_was_given_up_is_not_used_again() -> None:
    """Terms are told apart by their epochs alone: the third upstream's would seem to be the newest one."""
    _, former, active = without_a_term(0)
    assert active.epoch == former.epoch, "so the old copies alone keep nobody from it"
    world, former, active = without_a_term(former.epoch + UNSEEN_EPOCHS)
    assert active.epoch > former.epoch + UNSEEN_EPOCHS
    twin = world.started(1, None)
    answers(world, twin, 0, 1, 2)
    assert twin.commit > 0
    assert list(twin.log.after_index(0)) == list(active.log.after_index(0, twin.commit))


def test_a_new_store_has_taken_no_term_and_makes_no_older_one_the_newest() -> None:
    """Of the two that elected the twin, one has lost its store since, and the other one is away now."""
    world, active, _ = given_up(1)
    active.retire(world.now, "test")
    world.exchange_stores(0)
    world.now += 5
    twin = world.started(0, None)
    twin.tick(world.now)
    polls = [one for one in twin.take() if isinstance(one, Send) and isinstance(one.request, Subscribe)]
    for poll in polls:
        world.exchange(twin, poll)
    known = twin.replicas[1].state
    assert known is not None
    assert known.term == active.epoch
    for _ in range(4):
        world.now += 0.03
        twin.tick(world.now)
        for poll in [one for one in twin.take() if isinstance(one, Send)]:
            if poll.replica != 1:
                world.exchange(twin, poll)
            else:
                twin.failed(1, poll.at, poll.request)
    assert twin.commit == 0, "nothing that was given up"


def test_a_longer_memory_of_what_was_given_up_is_no_journal_to_go_on_with() -> None:
    """The loss was accepted on the other twin alone. The journal in force is the shorter one, so that its
    upstreams show this twin no entries; all three promise, and nobody else could have more than the twin."""
    world, active, former = given_up(0)
    assert former.commit > active.commit
    active.retire(world.now, "test")
    world.let(active, 0.1)
    world.now += 5
    former.retire(world.now, "test")
    assert not world.elects(former, seconds=20.0)
    assert former.anchors.objection is not None
    assert former.anchors.objection.kind == "other"
    assert former.role != "active", "it keeps no lease from the other twin"
    assert world.elects(world.started(1, None), OLD)


@pytest.mark.parametrize("commands", [0, 6])
def test_a_twin_that_ran_on_objects_and_mirrors_the_journal_in_force(commands: int) -> None:
    """The loss was accepted on the other twin alone; this one learns of it while that one serves."""
    world, active, former = given_up(commands)
    known = former.commit
    former.retire(world.now, "test")
    former.eligible = False
    for _ in range(6):
        answers(world, former, 0, 1, 2)
    assert list(former.log.after_index(0)) == list(active.log.after_index(0))
    assert former.anchors.objection is not None
    assert former.anchors.objection.kind == "active"
    assert former.anchors.objection.anchor.index == known
    assert former.confirmed_anchor == former.anchors.objection.anchor, "as on its disk"
    (alarm,) = ledger_alarms(former, world.now)
    assert f"entry {known} of epoch" in alarm


def test_one_upstream_alone_contradicts_no_mirror() -> None:
    world, active, _ = given_up(3)
    active.retire(world.now, "test")
    twin = world.started(0, None)
    twin.eligible = False
    for _ in range(3):
        answers(world, twin, 0, 1, 2)
    mirrored = twin.commit
    assert mirrored == active.commit
    for _ in range(6):
        answers(world, twin, 2)
    assert twin.commit == mirrored
    assert twin.journal_check.contradicted is None
    assert not ledger_alarms(twin, world.now)
