# SPDX-License-Identifier: Apache-2.0
"""The twin's ledger is compared with those of the members, and no single machine is believed."""

from dataclasses import dataclass, field

import msgspec

from tmr.ledger import Ledger, RecordDenials, encode
from tmr.licensing.items import LicenceKey
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.agreement import Agreement
from tmr.quorum.durable import Durable, VotingWrite
from tmr.quorum.entries import ProposerId
from tmr.quorum.lease import Timing
from tmr.quorum.messages import Reply, Subscribe
from tmr.quorum.outputs import Send
from tmr.quorum.proposer import Proposer
from tmr.twin.ledger_alarms import DIFFERENCE_ALARM, DROPPED, ledger_alarms

OTHER = LicenceKey(6_000_010, 7, 1)
NAMES = ("up1", "up2", "up3")


@dataclass
class Site:
    """Three upstreams and a twin that exchange messages without delay. `down`: slots that do not answer."""

    down: set[int] = field(default_factory=set)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.ledgers = [Ledger() for _ in range(3)]
        self.upstreams = [
            Acceptor(Durable(f"disk{slot}"), ledger, self.now, 2.0)
            for slot, ledger in enumerate(self.ledgers)
        ]
        self.writes: list[object] = []
        self.polls: list[Send] = []
        self.start_twin()
        self.go(8.0)
        assert self.twin.holds(self.now)
        self.twin.submit(
            self.now, encode(RecordDenials(()))
        )  # changes nothing; but from now on there is a digest
        self.go(1.0)

    def start_twin(self) -> None:
        """The twin starts: it remembers nothing."""
        self.ledger = Ledger()
        owner, timing = ProposerId("tmr1", f"n{self.now}"), Timing(2.0)
        self.twin = Proposer(owner, 0, NAMES, self.ledger, timing, self.now, lambda: 0.5)

    def go(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.05
            self.twin.tick(self.now)
            polls, self.polls = self.polls, []
            for poll in polls:
                self._carry(poll)
            while sends := [output for output in self.twin.take() if isinstance(output, Send)]:
                for send in sends:
                    self._carry(send)

    def _carry(self, send: Send) -> None:
        if send.replica in self.down:
            self.twin.failed(send.replica, send.at, send.request)
            return
        upstream = self.upstreams[send.replica]
        if isinstance(send.request, Subscribe):
            reply: Reply | None = upstream.subscribe(self.now, 1_800_000_000_000, send.request)
            if reply is None:
                self.polls.append(send)  # it waits for news
                return
        else:
            answer = upstream.handle(self.now, 1_800_000_000_000, send.request)
            self.writes += answer.writes
            reply = answer.reply
        self.twin.receive(self.now, send.replica, send.at, send.request, reply)

    def damage(self, slot: int, *, stored: bool = True) -> None:
        """Change an upstream's ledger in memory; `stored`: also what its own journal gives."""
        upstream, ledger = self.upstreams[slot], self.ledgers[slot]
        ledger._ledger_state.memory.steady_ms += 1
        if stored:
            taken = upstream._take_snapshot()
            upstream.snapshot = msgspec.structs.replace(taken, state=ledger.snapshot())

    def alike(self) -> bool:
        """All four ledgers are the same."""
        return len({ledger.digest() for ledger in (self.ledger, *self.ledgers)}) == 1

    def votes_lost(self) -> bool:
        """A right to vote was written away."""
        return any(isinstance(write, VotingWrite) and not write.voting for write in self.writes)


def test_an_error_of_memory_is_mended_from_the_upstreams_own_journal() -> None:
    site = Site()
    site.damage(2, stored=False)
    site.go(1.0)
    assert site.upstreams[2].rebuilt == 1
    assert site.upstreams[2].installed == 0
    assert site.alike()
    assert not ledger_alarms(site.twin, site.now)


def test_one_upstream_is_sent_the_ledger_that_the_others_have() -> None:
    site = Site()
    site.damage(2)
    site.go(4.0)
    assert site.upstreams[2].installed == 1
    assert site.alike()
    assert site.twin.holds(site.now)
    assert site.twin.dropped == 0
    assert not site.votes_lost()


def test_a_twin_that_mirrored_the_one_wrong_ledger_takes_that_of_the_others() -> None:
    site = Site()
    right = site.ledger.digest()
    site.damage(0)
    site.start_twin()
    site.go(12.0)
    assert site.twin.holds(site.now)
    assert site.ledger.digest() == right
    assert site.alike()
    assert not site.votes_lost()


def test_of_two_that_differ_none_is_believed_while_the_third_is_away() -> None:
    site = Site()
    site.damage(2)
    site.down = {0}
    before = site.ledgers[2].digest()
    site.go(4.0)
    assert not site.twin.holds(site.now), "nothing is granted"
    assert site.upstreams[2].differs
    assert site.upstreams[2].installed == 0
    assert site.ledgers[2].digest() == before
    assert not site.votes_lost()
    (alarm,) = ledger_alarms(site.twin, site.now)
    assert alarm.startswith("the ledger of up3 differs from that of up2 and this twin, and up1 says nothing")
    site.down = set()
    site.go(8.0)
    assert site.alike()
    assert site.twin.holds(site.now)
    assert not ledger_alarms(site.twin, site.now)


def test_a_twin_that_two_upstreams_contradict_mirrors_anew() -> None:
    site = Site()
    site.ledger._ledger_state.usage.spend(OTHER, 1)
    site.writes.clear()
    anchor = site.twin.anchor
    site.go(1.0)
    assert site.twin.dropped == 1
    assert site.twin.anchor == anchor, "what it knew to be committed is not forgotten with it"
    site.go(10.0)
    assert site.twin.holds(site.now)
    assert site.alike()
    assert not site.votes_lost()
    assert ledger_alarms(site.twin, site.now) == [DROPPED]


def test_a_passive_twin_that_two_upstreams_contradict_mirrors_anew() -> None:
    site = Site()
    site.twin.retire(site.now, "switchover")
    site.twin.eligible = False
    site.go(0.5)
    site.ledger._ledger_state.usage.spend(OTHER, 1)
    for slot in (0, 1):
        request = site.twin._follow_request(slot, entries=True)
        told = site.upstreams[slot]._followed(site.now, 1_800_000_000_000, request, (None, ()))
        site.twin.replicas[slot].subscribed = True
        site.twin.receive(site.now, slot, site.now, request, told)
    assert site.twin.dropped == 1
    site.go(1.0)
    assert site.alike()


def test_a_ledger_that_the_guard_refuses_is_not_sent_again_and_again() -> None:
    agreement = Agreement()
    agreement.differs(2, 1.0)
    agreement.agrees(0, 2.0)
    assert not agreement.may_install(2), "both others must have it"
    agreement.agrees(1, 2.0)
    assert agreement.may_install(2)
    agreement.refused(2)
    assert not agreement.may_install(2)
    agreement.begin_term()
    assert not agreement.compared


def test_what_was_asked_before_a_difference_says_nothing_about_it() -> None:
    agreement = Agreement()
    agreement.agrees(0, 1.0)
    agreement.agrees(1, 1.0)
    agreement.differs(2, 2.0)
    agreement.agrees(0, 1.5)
    assert not agreement.agreed
    agreement.agrees(0, 2.5)
    agreement.agrees(1, 2.5)
    assert agreement.may_install(2)


def test_the_alarm_of_a_difference_ends() -> None:
    site = Site()
    site.twin.agreement.differs(1, site.now)
    assert ledger_alarms(site.twin, site.now)
    assert not ledger_alarms(site.twin, site.now + DIFFERENCE_ALARM)


def test_nobody_serves_before_two_members_have_its_ledger() -> None:
    """Samples of the simulation seldom show this: where the twin was passive before, it compared already."""
    site = Site()
    twin = site.twin
    twin.serving = False
    twin.agreement.begin_term()
    twin._serve()
    assert not twin.serving
    twin.agreement.agrees(0, site.now)
    twin._serve()
    assert not twin.serving, "one member alone decides nothing"
    twin.agreement.agrees(1, site.now)
    twin._serve()
    assert twin.serving


def test_a_dropped_ledger_is_not_mirrored_again() -> None:
    site = Site()
    twin = site.twin
    twin.agreement.differs(1, site.now)
    twin.agreement.differs(2, site.now)
    assert twin.agreement.outvoted
    twin._drop_ledger()
    assert [twin._is_source(slot) for slot in range(3)] == [False, True, True]
