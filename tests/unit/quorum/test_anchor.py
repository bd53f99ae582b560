# SPDX-License-Identifier: Apache-2.0
"""A journal without what a twin knows to be committed is not adopted, unless all three have no more."""

from tests.unit.quorum.test_rollback import ALL, System, command
from tmr.ledger import Ledger
from tmr.quorum.anchor import Anchor, AnchorCheck, at, contains
from tmr.quorum.entries import Membership, ProposerId, Snapshot
from tmr.quorum.lease import Timing
from tmr.quorum.log import Log
from tmr.quorum.proposer import Proposer

OLD = frozenset((0, 1))


def twin(system: System, anchor: Anchor | None) -> Proposer:
    """A twin that starts with this anchor on its disk."""
    owner = ProposerId("tmr1", f"tmr1-{system.now}")
    names = ("up1", "up2", "up3")
    return Proposer(owner, 0, names, Ledger(), Timing(ttl=2.0), system.now, lambda: 0.5, anchor)


def put_back() -> tuple[System, Anchor]:
    """Two upstreams with copies of one moment; all twins off. The anchor of one of these."""
    system = System()
    before = system.twin("tmr1", 0)
    assert system.elects(before)
    command(system, before, ALL)
    copies = [system.upstreams[slot].copy() for slot in sorted(OLD)]
    command(system, before, ALL)
    anchor = before.anchor
    assert anchor is not None
    system.now += 10
    for slot, copy in zip(sorted(OLD), copies, strict=True):
        system.upstreams[slot].put_back(copy, system.now)
    system.upstreams[2].start(system.now)
    return system, anchor


def test_two_old_copies_of_one_moment_elect_nobody_and_the_third_heals() -> None:
    system, anchor = put_back()
    again = twin(system, anchor)
    assert not system.elects(again, OLD, 20.0)
    objection = again.anchors.objection
    assert objection is not None
    assert objection.kind == "short"
    assert objection.anchor == anchor
    assert set(objection.shown) == OLD
    assert again.anchor == anchor, "it is kept, and not what the old copies show"
    assert system.elects(again, ALL, 20.0)
    assert again.anchors.objection is None
    assert again.log.epoch_at(anchor.index) == anchor.epoch


def test_the_lease_is_not_taken_for_nothing() -> None:
    system, anchor = put_back()
    promised = [system.upstreams[slot].acceptor.promised for slot in sorted(OLD)]
    assert not system.elects(twin(system, anchor), OLD, 20.0)
    assert [system.upstreams[slot].acceptor.promised for slot in sorted(OLD)] == promised


def test_a_twin_without_an_anchor_does_not_object() -> None:
    system, _ = put_back()
    assert system.elects(twin(system, None), OLD)


def test_a_lower_anchor_which_an_operator_accepted_lets_the_shown_journal_in() -> None:
    system, anchor = put_back()
    asked = twin(system, anchor)
    assert not system.elects(asked, OLD)
    objection = asked.anchors.objection
    assert objection is not None
    epoch, index = objection.best
    assert system.elects(twin(system, Anchor(epoch, index, 0)), OLD)


def test_a_twin_objects_to_a_later_term_that_continued_without_the_anchor() -> None:
    system, anchor = put_back()
    careless = twin(system, None)
    assert system.elects(careless, OLD)
    for _ in range(3):
        command(system, careless, OLD)
    check = AnchorCheck(anchor)
    check.mirrored(careless.log, system.now)
    assert check.objection is not None
    assert check.objection.kind == "active"
    assert check.current(careless.log, careless.commit) == anchor
    careless.retire(system.now, "test")
    system.let(careless, 0.1, OLD)
    assert not system.elects(twin(system, anchor), OLD, 20.0)


def test_running_twins_are_served_by_all_three_although_two_have_rolled_back() -> None:
    system = System()
    runs = system.twin("tmr1", 0)
    assert system.elects(runs)
    command(system, runs, ALL)
    copies = [system.upstreams[slot].copy() for slot in sorted(OLD)]
    last = command(system, runs, ALL)
    system.let(runs, 5.0, frozenset((2,)))
    assert runs.role != "active"
    for slot, copy in zip(sorted(OLD), copies, strict=True):
        system.upstreams[slot].put_back(copy, system.now)
    assert not system.elects(runs, OLD, 20.0), "the third may have more"
    assert system.elects(runs, ALL, 20.0)
    assert runs.log.last > last


def test_the_same_position_of_another_history_is_not_the_anchor() -> None:
    first, second = System(), System()
    logs = []
    for number, system in enumerate((first, second)):
        system.now += number
        active = system.twin("tmr1", 0)
        assert system.elects(active)
        command(system, active, ALL)
        logs.append(active.log)
    one, other = at(logs[0], 2), at(logs[1], 2)
    assert one is not None
    assert other is not None
    assert one.position == other.position
    assert contains(logs[0], one)
    assert not contains(logs[1], one)


def test_below_a_snapshot_nothing_can_be_compared() -> None:
    log = Log.after(Snapshot(10, 4, 1000, Membership(("a", "b", "c")), b""))
    assert contains(log, Anchor(3, 8, 900, b"x"))
    assert contains(log, Anchor(4, 10, 1000, b"x"))
    assert not contains(log, Anchor(5, 8, 900))
    assert not contains(log, Anchor(4, 11, 1000))
