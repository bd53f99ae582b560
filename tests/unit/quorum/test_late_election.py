# SPDX-License-Identifier: Apache-2.0
"""A candidate that slept through a later term does not begin its own, older one.

Found by the model (tests/model/journal.pml, WITHOUT_RISING_EPOCHS): the sleeper put its `term` entry behind
entries of the later epoch, and an upstream with that journal stopped at an append of the epochs in between.
"""

from tmr.ledger import Ledger
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import Durable
from tmr.quorum.entries import Membership, ProposerId
from tmr.quorum.lease import Timing
from tmr.quorum.messages import Acquire, Append, Bootstrap, Reply, Request, Subscribe
from tmr.quorum.outputs import Send
from tmr.quorum.proposer import Proposer

WALL_MS = 1_800_000_000_000
UPSTREAMS = ("up1", "up2", "up3")


def founded() -> list[Acceptor]:
    upstreams = [Acceptor(Durable(f"disk-{slot}"), Ledger(), 0.0, max_ttl=2.0) for slot in range(3)]
    for upstream in upstreams:
        upstream.handle(
            0.0, WALL_MS, Bootstrap(ProposerId("tmr1", "founder"), Membership(("disk-0", "disk-1", "disk-2")))
        )
    return upstreams


class Wires:
    """A twin's requests, delivered when the test says so."""

    def __init__(self, name: str, rank: int, upstreams: list[Acceptor]) -> None:
        self.twin = Proposer(ProposerId(name, "life"), rank, UPSTREAMS, Ledger(), Timing(), 0.0, lambda: 0.5)
        self._upstreams = upstreams
        self.waiting: list[Send] = []

    @property
    def role(self) -> str:
        return self.twin.role

    def collect(self) -> None:
        self.waiting += [output for output in self.twin.take() if isinstance(output, Send)]

    def take(self, slot: int, kind: type[Request]) -> Send:
        """The first request of the kind to that upstream, off the wire."""
        self.collect()
        send = next(one for one in self.waiting if one.replica == slot and isinstance(one.request, kind))
        self.waiting.remove(send)
        return send

    def ask(self, now: float, send: Send) -> Reply:
        return self._upstreams[send.replica].handle(now, WALL_MS, send.request).reply

    def exchange(self, now: float, slot: int, kind: type[Request]) -> None:
        send = self.take(slot, kind)
        self.twin.receive(now, slot, send.at, send.request, self.ask(now, send))

    def elect(self, now: float, *slots: int) -> None:
        """Probe and acquire at these upstreams."""
        self.twin.tick(now)
        for _ in ("probe", "in earnest"):
            for slot in slots:
                self.exchange(now, slot, Acquire)
            self.waiting = [one for one in self.waiting if not isinstance(one.request, Acquire)]


def test_a_candidate_that_slept_through_a_later_term_does_not_begin_its_own() -> None:
    upstreams = founded()
    sleeper, other = Wires("tmr1", 0, upstreams), Wires("tmr2", 1, upstreams)

    # The sleeper probes and asks in earnest. up2 grants; that answer, and the request to up3, take long.
    for slot in (0, 1):
        sleeper.twin.replicas[slot].state = upstreams[slot].state(WALL_MS)
    sleeper.twin.tick(0.4)
    for slot in (0, 1):
        sleeper.exchange(0.4, slot, Acquire)
    assert sleeper.role == "candidate"
    sleeper.collect()
    earnest = [
        one for one in sleeper.waiting if isinstance(one.request, Acquire) and not one.request.pre_vote
    ]
    late_answer = sleeper.ask(0.4, earnest[1])

    # The other is active: once so that nothing arrives but, much later, an append at up3; then in good order.
    other.elect(3.0, 0, 1)
    assert other.role == "active"
    other.twin.tick(3.5)
    late_append = other.take(2, Append)
    other.waiting.clear()
    other.twin.retire(3.6, "planned")
    other.waiting.clear()
    other.elect(9.0, 0, 1)
    assert other.role == "active"
    for _ in ("term", "its commitment"):
        for slot in (0, 1):
            other.exchange(9.0, slot, Append)
        other.twin.tick(9.5)
    assert upstreams[1].commit == 1

    # The sleeper wakes: first it hears what was committed, then its two promises.
    sleeper.twin.replicas[1].state = upstreams[1].state(WALL_MS)
    follow = next(one for one in sleeper.waiting if one.replica == 0 and isinstance(one.request, Subscribe))
    sleeper.twin.receive(9.6, 0, follow.at, follow.request, sleeper.ask(9.6, follow))
    assert sleeper.twin.commit == 1
    sleeper.twin.receive(9.6, 1, earnest[1].at, earnest[1].request, late_answer)
    sleeper.twin.receive(9.6, 2, earnest[2].at, earnest[2].request, sleeper.ask(9.6, earnest[2]))
    for _ in ("it would be told of a conflict", "and send the journal"):
        sleeper.collect()
        for send in [one for one in sleeper.waiting if one.replica == 2 and isinstance(one.request, Append)]:
            sleeper.waiting.remove(send)
            sleeper.twin.receive(9.6, 2, send.at, send.request, sleeper.ask(9.6, send))

    assert sleeper.role == "passive"
    assert sleeper.twin.log.last_epoch == other.twin.epoch
    other.ask(9.7, late_append)  # up3 takes it, and does not stop
    assert upstreams[2].log.last_epoch == 3
