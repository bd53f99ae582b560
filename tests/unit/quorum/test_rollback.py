# SPDX-License-Identifier: Apache-2.0
"""An upstream whose store was put back to an older state counts for nothing before it is whole again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.support.durable import carry_out
from tmr.ledger import Ledger, RecordDenials
from tmr.ledger import encode as encode_command
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import Durable, TermWrite, Write
from tmr.quorum.entries import AckedPosition, Membership, ProposerId, Snapshot
from tmr.quorum.lease import Timing
from tmr.quorum.messages import Promise, ReplicaState, Reply, Subscribe, decode_reply, encode
from tmr.quorum.outputs import Send
from tmr.quorum.proposer import Proposer

DISKS = ("disk-0", "disk-1", "disk-2")
ALL = frozenset(range(3))


class Upstream:
    """An acceptor with a disk that can be copied, and the copy put back."""

    def __init__(self, slot: int) -> None:
        founded = Snapshot(0, 0, 0, Membership(DISKS), b"")
        self.durable = Durable(DISKS[slot], voting=True, snapshot=founded)
        self.start(0.0)

    def start(self, now: float) -> None:
        self.acceptor = Acceptor(self.copy(), Ledger(), now, 2.0)

    def copy(self) -> Durable:
        return msgspec.structs.replace(self.durable, entries=list(self.durable.entries))

    def put_back(self, copy: Durable, now: float) -> None:
        self.durable = copy
        self.start(now)

    def sync(self, writes: Sequence[Write]) -> None:
        for write in writes:
            carry_out(self.durable, write)


class System:
    """Three upstreams, one clock; a twin reaches those that a test names."""

    def __init__(self) -> None:
        self.now = 100.0
        self.upstreams = [Upstream(slot) for slot in range(3)]
        self._runs = itertools.count()

    def twin(self, name: str, rank: int) -> Proposer:
        return Proposer(
            ProposerId(name, f"{name}-{self.now}-{next(self._runs)}"),
            rank,
            ("up1", "up2", "up3"),
            Ledger(),
            Timing(ttl=2.0),
            self.now,
            lambda: 0.5,
        )

    def let(self, twin: Proposer, seconds: float, reached: frozenset[int] = ALL) -> list[object]:
        """Let time pass. What the twin put out."""
        seen: list[object] = []
        end = self.now + seconds
        while self.now < end:
            self.now += 0.01
            twin.tick(self.now)
            while outputs := twin.take():
                seen += outputs
                for send in outputs:
                    if isinstance(send, Send) and not isinstance(send.request, Subscribe):
                        self.exchange(twin, send, reached)
        return seen

    def exchange(self, twin: Proposer, send: Send, reached: frozenset[int] = ALL) -> None:
        if send.replica not in reached:
            twin.failed(send.replica, send.at, send.request)
            return
        upstream = self.upstreams[send.replica]
        answer = upstream.acceptor.handle(self.now, 1_800_000_000_000 + round(self.now * 1000), send.request)
        upstream.sync(answer.writes)
        twin.receive(self.now, send.replica, send.at, send.request, answer.reply)

    def elects(self, twin: Proposer, reached: frozenset[int] = ALL, seconds: float = 8.0) -> bool:
        self.let(twin, seconds, reached)
        return twin.holds(self.now)


def command(system: System, twin: Proposer, reached: frozenset[int]) -> int:
    """One more committed entry, of no effect."""
    index = twin.submit(system.now, encode_command(RecordDenials(())))
    system.let(twin, 1.0, reached)
    return index


def term_of_tmr1() -> tuple[System, Proposer]:
    system = System()
    twin = system.twin("tmr1", 0)
    assert system.elects(twin)
    return system, twin


def test_the_active_twin_does_not_count_it_before_it_is_whole() -> None:
    system, twin = term_of_tmr1()
    old = system.upstreams[0].copy()
    twin._add("term", b"", system.now)
    system.let(twin, 1.0)
    assert twin.replicas[0].match_index == twin.commit == 2
    system.upstreams[0].put_back(old, system.now)
    progress = twin.replicas[0]
    end = system.now + 1.0
    while not progress.rolled_back and system.now < end:  # its next answer, a renewal
        system.now += 0.01
        twin.tick(system.now)
        for send in twin.take():
            if isinstance(send, Send):
                system.exchange(twin, send)
    assert (progress.rolled_back, progress.match_index, progress.granted_until) == (True, 0, None)
    assert twin._member_replicas() == {1, 2}
    assert system.elects(twin, seconds=1.0)
    assert (progress.rolled_back, progress.match_index) == (False, 2)
    assert progress.rolled_back_at > 0
    assert system.upstreams[0].acceptor.rolled_back, "it says so itself, too"
    assert not system.upstreams[1].acceptor.rolled_back


def test_it_elects_nobody_with_one_that_remembers() -> None:
    """up1 is put back; up3 was told more of it; up2, the only one that has everything, is away."""
    system, twin = term_of_tmr1()
    old = system.upstreams[0].copy()
    for _ in range(3):
        twin._add("term", b"", system.now)
        system.let(twin, 1.0)
    twin._add("term", b"", system.now)
    system.let(twin, 0.2, frozenset({0, 1}))
    committed = twin.commit
    assert committed == 5
    assert system.upstreams[2].acceptor.log.last == 4
    system.now += 10
    system.upstreams[0].put_back(old, system.now)
    other = system.twin("tmr2", 1)  # it knows nothing: both twins were started anew
    assert not system.elects(other, frozenset({0, 2}))
    again = system.twin("tmr1", 0)  # nor does it count at the second attempt, when it has promised more
    assert not system.elects(again, frozenset({0, 2}))
    assert system.elects(other, ALL)
    assert other.log.last > committed
    for upstream in system.upstreams:
        assert [entry.epoch for entry in upstream.durable.entries][:committed] == [
            entry.epoch for entry in system.upstreams[1].durable.entries
        ][:committed]


def test_when_all_three_answer_the_best_journal_is_taken() -> None:
    """Two have lost what they confirmed: nobody else has it, and there is nothing to wait for."""
    system, twin = term_of_tmr1()
    old = [upstream.copy() for upstream in system.upstreams]
    for _ in range(3):
        twin._add("term", b"", system.now)
        system.let(twin, 1.0)
    system.now += 10
    for slot in (1, 2):
        system.upstreams[slot].put_back(old[slot], system.now)
    for pair in ({0, 1}, {0, 2}):
        assert not system.elects(system.twin("tmr2", 1), frozenset(pair))
    system.now += 10
    other = system.twin("tmr1", 0)
    assert system.elects(other)
    assert other.commit == 5, "what the first has is kept"
    assert [progress.rolled_back_at > 0 for progress in other.replicas] == [False, True, True], (
        "and there is an alarm"
    )
    assert [upstream.acceptor.log.last for upstream in system.upstreams] == [5, 5, 5]


def test_who_only_was_away_is_not_suspected() -> None:
    system, twin = term_of_tmr1()
    for _ in range(3):
        twin._add("term", b"", system.now)
        system.let(twin, 1.0, frozenset({1, 2}))
    system.let(twin, 1.0)
    other = system.twin("tmr2", 1)
    system.now += 10
    assert system.elects(other)
    assert [progress.rolled_back_at for progress in (*twin.replicas, *other.replicas)] == [float("-inf")] * 6


def test_a_tail_that_a_later_term_cuts_is_no_sign() -> None:
    """up1 alone stored entries of tmr1 that nobody else has; the term of tmr2 cuts them."""
    system, twin = term_of_tmr1()
    for _ in range(2):
        twin._add("term", b"", system.now)
    system.let(twin, 0.3, frozenset({0}))
    assert system.upstreams[0].acceptor.log.last == 3
    assert twin.rollbacks.of(DISKS)[0] == AckedPosition("disk-0", twin.epoch, twin.epoch, 3)
    system.now += 10
    other = system.twin("tmr2", 1)
    assert system.elects(other, frozenset({1, 2}))
    assert system.elects(other)
    assert system.upstreams[0].acceptor.log.last == system.upstreams[1].acceptor.log.last == 2
    system.let(twin, 5.0, frozenset())
    system.now += 10
    assert system.elects(twin), "and the twin that has seen them counts it, too"
    assert not any(progress.rolled_back for progress in twin.replicas)


def test_an_answer_to_an_older_question_is_no_sign() -> None:
    system, twin = term_of_tmr1()
    twin.tick(system.now + 0.5)
    asked = next(one for one in twin.take() if isinstance(one, Send) and one.replica == 0)
    late = system.upstreams[0].acceptor.handle(system.now, 0, asked.request)
    system.now += 0.51
    twin._add("term", b"", system.now)
    twin.replicas[0].busy = False  # it timed out
    system.let(twin, 1.0)
    twin.receive(system.now, 0, asked.at, asked.request, late.reply)
    assert not twin.replicas[0].rolled_back
    assert twin.replicas[0].match_index == 2


def test_members_of_an_older_version_are_not_suspected() -> None:
    """Their answers lack the last fields of the header; and their messages the rollbacks."""
    system, twin = term_of_tmr1()
    answer: Reply = Promise(system.upstreams[0].acceptor.state(0), 9, twin.owner, None, ())
    raw = msgspec.msgpack.decode(encode(answer))
    del raw["state"][ReplicaState.__struct_fields__.index("term") :]
    del raw["acked"]
    old = decode_reply(msgspec.msgpack.encode(raw))
    assert isinstance(old, Promise)
    assert (old.state.term, old.acked) == (-1, ())
    twin.rollbacks.learn(AckedPosition("disk-0", 99, 99, 99), system.now)
    assert not twin.rollbacks.rolled_back(old.state, system.now)


def test_confirmations_count_until_a_term_that_all_three_elected_is_committed() -> None:
    """The simulation cannot show this rule any more: the twins' anchors notice the same."""
    system, twin = term_of_tmr1()
    old, rollbacks = system.upstreams[0].acceptor.state(0), twin.rollbacks
    rollbacks.learn(AckedPosition("disk-0", 99, 99, 99), system.now)
    assert rollbacks.rolled_back(old, system.now)
    rollbacks.excuse("disk-0")
    assert not rollbacks.rolled_back(old, system.now)
    rollbacks.term_ended()
    assert rollbacks.rolled_back(old, system.now), "the term ended before a majority had its journal"
    rollbacks.excuse("disk-0")
    rollbacks.term_committed()
    rollbacks.term_ended()
    assert not rollbacks.rolled_back(old, system.now)


def test_a_term_is_taken_with_its_first_entry_and_not_before() -> None:
    """An old copy has all that the term adopted only then. The anchors notice the same."""
    system, _ = term_of_tmr1()
    acceptor = system.upstreams[0].acceptor
    epoch, last = acceptor.promised + 1, acceptor.log.last
    assert acceptor._taken_of(epoch, last) == []
    assert acceptor._taken_of(epoch, last, cut=True) == [TermWrite(epoch)]


positions = st.builds(AckedPosition, st.just("d"), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


@given(positions, positions, st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)))
def test_two_positions_together_say_what_both_say(
    one: AckedPosition, other: AckedPosition, shown: tuple[int, int, int]
) -> None:
    assert one.joined(other) == other.joined(one)
    newest = [position for position in (one, other) if position.term == max(one.term, other.term)]
    assert one.joined(other).missed_by(*shown) == any(position.missed_by(*shown) for position in newest)
