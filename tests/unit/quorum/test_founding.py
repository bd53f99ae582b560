# SPDX-License-Identifier: Apache-2.0
"""A twin serves with no journal of another founding, and founds no system over the one that it knows."""

from __future__ import annotations

import itertools

import pytest

from tests.unit.quorum.test_rollback import ALL, System, command
from tmr.ledger import Ledger
from tmr.quorum.anchor import Anchor, AnchorMismatch
from tmr.quorum.durable import Durable
from tmr.quorum.entries import Entry, Membership, ProposerId, Snapshot
from tmr.quorum.founding import confirmed, founding_of, prevailing
from tmr.quorum.lease import Timing
from tmr.quorum.log import Log
from tmr.quorum.messages import (
    Acquire,
    Append,
    Appended,
    Conflict,
    Fenced,
    Install,
    Reply,
    Request,
    RequestRefused,
    Subscribe,
)
from tmr.quorum.outputs import Send
from tmr.quorum.proposer import Proposer
from tmr.twin.upstream_states import Reachability, upstream_states

RUNS = itertools.count()


class World(System):
    """Upstreams whose stores can be exchanged for others."""

    def exchange_stores(self, *slots: int) -> list[Durable]:
        """New stores are put in place, on these upstreams. The former ones."""
        former = [self.upstreams[slot].durable for slot in slots]
        for slot in slots:
            self.upstreams[slot].put_back(Durable(f"new-{slot}-{self.now}"), self.now)
        return former

    def put_back(self, stores: list[Durable]) -> None:
        for upstream, store in zip(self.upstreams, stores, strict=True):
            upstream.put_back(store, self.now)

    def started(self, rank: int, anchor: Anchor | None, newer_than: int = 0) -> Proposer:
        """A twin that starts with this anchor on its disk."""
        names = ("up1", "up2", "up3")
        owner = ProposerId(f"tmr{rank + 1}", f"{rank}-{self.now}-{next(RUNS)}")
        return Proposer(
            owner,
            rank,
            names,
            Ledger(),
            Timing(ttl=2.0),
            self.now,
            lambda: 0.5,
            anchor,
            newer_than=newer_than,
        )

    def follow(self, twin: Proposer) -> None:
        """Polls are answered at once; those from before were not answered."""
        for progress in twin.replicas:
            progress.subscribed = False
        for _ in range(3):
            self.now += 0.1
            twin.tick(self.now)
            for send in [one for one in twin.take() if isinstance(one, Send)]:
                self.exchange(twin, send)

    def alone(self, slot: int, twin: Proposer, request: Request) -> None:
        """One upstream answers."""
        self.exchange(twin, Send(slot, request, self.now))


def objection_of(twin: Proposer) -> AnchorMismatch:
    found = twin.anchors.objection
    assert found is not None
    return found


def active(commands: int = 2) -> tuple[World, Proposer, Anchor]:
    world = World()
    twin = world.started(0, None)
    assert world.elects(twin)
    for _ in range(commands):
        command(world, twin, ALL)
    anchor = twin.anchor
    assert anchor is not None
    return world, twin, anchor


def founded_anew() -> tuple[World, Proposer, Anchor, Proposer]:
    """A twin that knows the former system, its anchor, and one without memory, which has founded anew."""
    world, former, anchor = active(commands=6)
    world.exchange_stores(0, 1, 2)
    world.now += 5
    fresh = world.started(1, None)
    assert world.elects(fresh)
    assert fresh.founding != anchor.founding
    return world, former, anchor, fresh


@pytest.mark.parametrize("restarted", [False, True])
def test_new_stores_are_not_founded_by_a_twin_that_knows_a_system(restarted: bool) -> None:
    world, twin, anchor = active()
    former = world.exchange_stores(0, 1, 2)
    world.now += 5
    if restarted:
        twin = world.started(0, anchor)
    assert not world.elects(twin, seconds=20.0)
    assert objection_of(twin).kind == "new"
    assert objection_of(twin).id == f"founding-{anchor.founding}-new"
    assert not any(upstream.acceptor.voting for upstream in world.upstreams)
    world.put_back(former)
    assert world.elects(twin, seconds=20.0)
    assert twin.anchors.objection is None
    assert twin.founding == anchor.founding


@pytest.mark.parametrize("restarted", [False, True])
def test_a_system_founded_anew_is_not_taken_before_an_operator_said_so(restarted: bool) -> None:
    world, twin, anchor, fresh = founded_anew()
    if restarted:
        twin = world.started(0, anchor)
    mirrored = twin.commit
    world.follow(twin)
    fresh.retire(world.now, "test")
    world.let(fresh, 0.1)
    assert not world.elects(twin, seconds=20.0)
    assert objection_of(twin).kind == "founded"
    assert objection_of(twin).id == f"founding-{anchor.founding}-{fresh.founding}"
    assert twin.commit == mirrored, "nothing of the other journal"
    assert twin.anchor is not None
    assert twin.anchor.founding == anchor.founding
    accepted = world.started(0, None)
    assert world.elects(accepted)
    assert accepted.founding == fresh.founding


def test_a_longer_journal_of_another_founding_is_not_mirrored() -> None:
    """Epochs and indices may be equal by chance: two histories would become one."""
    world, twin, anchor, fresh = founded_anew()
    while fresh.commit <= anchor.index:
        command(world, fresh, ALL)
    world.follow(twin)
    assert twin.commit == anchor.index
    assert objection_of(twin).other == fresh.founding


def test_an_old_store_counts_for_nothing_and_stops_nobody() -> None:
    world, former, _ = active()
    for _ in range(4):  # a high epoch, and a long journal
        former.retire(world.now, "test")
        assert world.elects(former)
    old = world.exchange_stores(0, 1, 2)[0]
    assert old.promised > 4
    world.now += 5
    fresh = world.started(1, None)
    assert world.elects(fresh)
    before = old.promised, old.commit, list(old.entries)
    world.upstreams[0].put_back(old, world.now)
    epoch = fresh.epoch
    command(world, fresh, ALL)
    assert fresh.holds(world.now)
    assert fresh.epoch == epoch, "nobody is deposed by the epochs of another founding"
    assert "another founding" in fresh.replicas[0].alarm
    assert not fresh.is_member(0)
    seen = upstream_states(fresh, (Reachability(), Reachability(), Reachability()))[0]
    assert (seen.voting, seen.container) == (False, ""), "nor does its container"
    assert fresh.anchors.objection is None
    assert "knows the founding" in world.upstreams[0].acceptor.foreign
    assert (old.promised, old.commit, old.entries) == before, "and it is not written to"
    for twin in (world.started(0, fresh.anchor), world.started(0, None)):
        world.now += 5
        assert world.elects(twin, seconds=20.0)
        twin.retire(world.now, "test")
        world.let(twin, 0.1)


def next_to(world: World, twin: Proposer, slot: int) -> Send:
    """The twin's next question to this upstream, still under way; the two others answer theirs."""
    for _ in range(500):
        world.now += 0.01
        twin.tick(world.now)
        sent = [one for one in twin.take() if isinstance(one, Send)]
        asked = [one for one in sent if not isinstance(one.request, Subscribe)]
        for send in asked:
            if send.replica != slot:
                world.exchange(twin, send)
        for send in asked:
            if send.replica == slot:
                return send
    raise AssertionError("it asks nothing")


def reply_of(world: World, send: Send) -> Reply:
    acceptor = world.upstreams[send.replica].acceptor
    return acceptor.handle(world.now, 1_800_000_000_000 + round(world.now * 1000), send.request).reply


@pytest.mark.parametrize("conflicts", [False, True])
def test_a_late_answer_of_the_own_store_counts_for_nothing_beside_another_one(conflicts: bool) -> None:
    world, twin, _ = active()
    progress = twin.replicas[0]
    late = next_to(world, twin, 0)
    reply = reply_of(world, late)
    assert isinstance(reply, Appended)
    if conflicts:
        reply = Conflict(reply.state, reply.epoch, reply.owner, 0, reply.granted_ms)
    twin.failed(0, late.at, late.request)
    other, _, _ = active()
    world.upstreams[0].put_back(other.upstreams[0].durable, world.now)
    world.let(twin, 1.0)
    assert progress.foreign
    alarm = progress.alarm
    twin.receive(world.now, 0, late.at, late.request, reply)
    assert (progress.match_index, progress.granted_until) == (0, None)
    assert progress.alarm == alarm, "it still names the founding of the store that is there"
    twin.check_invariants()


def test_a_vote_of_the_own_store_counts_for_nothing_beside_another_one() -> None:
    world, former, anchor = active()
    former.retire(world.now, "test")
    world.let(former, 0.1)
    twin = world.started(1, anchor)
    while twin.role != "candidate":  # up1 and up2 are ready, and asked for a promise
        send = next_to(world, twin, 2)
        twin.failed(2, send.at, send.request)
    (asked,) = (one for one in twin.take() if isinstance(one, Send) and one.replica == 0)
    world.exchange(twin, asked)
    assert list(twin._votes) == [0]
    other, _, _ = active()
    world.upstreams[0].put_back(other.upstreams[0].durable, world.now)
    world.now += 0.01
    world.alone(0, twin, Acquire(twin.epoch, twin.owner, 2_000, founding=twin.founding))
    assert twin.replicas[0].foreign
    assert not twin._votes
    world.let(twin, 3.0, frozenset((0, 1)))
    assert not twin.holds(world.now)
    assert world.elects(twin)
    twin.check_invariants()


def test_a_first_term_that_reaches_a_store_of_another_founding_is_no_fork_of_it() -> None:
    """Its message is late: nothing of it was committed when it was sent."""
    world = World()
    twin = world.started(0, None)
    send = next_to(world, twin, 0)
    while not isinstance(send.request, Append):
        world.exchange(twin, send)
        send = next_to(world, twin, 0)
    assert send.request.commit == 0
    genuine = world.upstreams[0].durable
    other, elsewhere, _ = active()
    assert elsewhere.epoch == twin.epoch
    foreign = other.upstreams[0].durable
    foreign.owner = twin.owner  # who the epoch was promised to cannot tell them
    world.upstreams[0].put_back(foreign, world.now)
    assert isinstance(reply_of(world, send), RequestRefused)
    assert "knows the founding" in world.upstreams[0].acceptor.foreign
    assert not world.upstreams[0].acceptor.refused
    world.upstreams[0].put_back(genuine, world.now)
    world.now += 5
    assert world.elects(world.started(1, None))
    assert isinstance(reply_of(world, send), Fenced), "a term that was over before it founded anything"
    assert not world.upstreams[0].acceptor.foreign


def test_of_two_foundings_the_third_upstream_decides() -> None:
    world, *_ = founded_anew()
    genuine = world.upstreams[2].durable
    other, _, _ = active()
    world.upstreams[2].put_back(other.upstreams[2].durable, world.now)
    world.now += 5
    twin = world.started(0, None)
    assert not world.elects(twin, frozenset((0, 2)), 20.0)
    assert world.elects(twin, ALL, 20.0)
    assert twin.founding == world.upstreams[0].acceptor.log.founding_at(1)
    world.upstreams[2].put_back(genuine, world.now)


def test_stores_founded_by_others_and_without_a_journal_are_an_objection() -> None:
    world, twin, anchor = active()
    world.exchange_stores(0, 1, 2)
    disks = tuple(upstream.durable.replica_id for upstream in world.upstreams)
    for upstream in world.upstreams:
        founded = Snapshot(0, 0, 0, Membership((disks[0], disks[1], disks[2])), b"")
        upstream.put_back(Durable(upstream.durable.replica_id, voting=True, snapshot=founded), world.now)
    world.now += 5
    assert not world.elects(twin, seconds=20.0)
    assert objection_of(twin).id == f"founding-{anchor.founding}-new"


@pytest.mark.parametrize("kind", ["probe", "acquire", "append", "install"])
def test_an_upstream_refuses_a_twin_of_another_founding_and_changes_nothing(kind: str) -> None:
    world, twin, anchor = active()
    upstream = world.upstreams[0]
    acceptor, owner = upstream.acceptor, ProposerId("tmr2", "other")
    promised = acceptor.promised
    asked: dict[str, Request] = {
        "probe": Acquire(promised + 1, owner, 2_000, pre_vote=True, founding="ff"),
        "acquire": Acquire(promised + 1, owner, 2_000, founding="ff"),
        "append": Append(promised + 1, owner, 2_000, 1, 1, (), 1, founding="ff"),
        "install": Install(
            promised + 1,
            owner,
            2_000,
            Snapshot(99, promised, 2**42, Membership((acceptor.replica_id, "x", "y")), b"", founding="ff"),
        ),
    }
    before = acceptor.log.last, acceptor.commit, promised
    world.now += 5
    answer = acceptor.handle(world.now, 1_800_000_000_000, asked[kind])
    assert isinstance(answer.reply, RequestRefused)
    assert anchor.founding in answer.reply.reason
    assert acceptor.foreign == answer.reply.reason
    assert not acceptor.refused
    assert not answer.writes
    assert (acceptor.log.last, acceptor.commit, acceptor.promised) == before
    assert twin.founding == anchor.founding


def test_the_founding_outlives_compaction_and_a_cut() -> None:
    entries = [Entry(index, 2, 1_000 + index, "term", b"a") for index in range(1, 5)]
    log = Log.after(Snapshot(0, 0, 0, None, b""), entries)
    known = founding_of(entries[0])
    assert [log.founding_at(index) for index in (0, 1, 4)] == ["", known, known]
    log.compact(3)
    log.cut(3)
    assert log.founding_at(3) == known
    cut = Log.after(Snapshot(0, 0, 0, None, b""), entries)
    cut.cut(0)
    assert cut.founding_at(cut.last) == ""
    cut.extend([Entry(1, 3, 1_001, "term", b"b")])
    assert cut.founding_at(1) not in ("", known)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ([], None),
        (["a"], None),
        (["", ""], ""),
        (["a", ""], "a"),
        (["a", "b"], None),
        (["a", "b", ""], None),
        (["a", "b", "b"], "b"),
        (["a", "b", "c"], None),
    ],
)
def test_two_upstreams_tell_the_founding(stated: list[str], told: str | None) -> None:
    assert prevailing(stated) == told


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ([], False),
        (["a"], False),
        (["", ""], True),
        (["a", ""], False),
        (["a", "", ""], False),
        (["a", "b", "b"], True),
        (["a", "b", ""], False),
    ],
)
def test_entries_are_taken_of_what_two_upstreams_confirm(stated: list[str], told: bool) -> None:
    assert confirmed(stated) is told


def test_a_twin_that_knows_nothing_asks_for_entries_once_two_have_answered() -> None:
    world, *_ = active()
    world.now += 5
    twin = world.started(1, None)
    twin.tick(world.now)
    first = [one.request for one in twin.take() if isinstance(one, Send)]
    assert not any(isinstance(one, Subscribe) and one.entries for one in first)
    world.follow(twin)
    world.follow(twin)
    assert twin.commit > 0
