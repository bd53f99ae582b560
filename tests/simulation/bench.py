# SPDX-License-Identifier: Apache-2.0
"""Two twins and three upstreams whose messages are delivered by hand: for schedules that chance seldom
finds.
"""

import copy

from tests.simulation.invariant_checker import Violation
from tests.simulation.names import TWINS, UPSTREAMS
from tests.simulation.rules import Rules
from tmr.ledger import Ledger
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import Durable
from tmr.quorum.entries import Entry, Membership, ProposerId, Snapshot
from tmr.quorum.lease import Timing
from tmr.quorum.messages import Release, Subscribe
from tmr.quorum.outputs import Applied, Send
from tmr.quorum.proposer import Proposer

TTL = 2.0
WALL_MS = 1_800_000_000_000
DISKS = ("disk-1", "disk-2", "disk-3")


class Bench:
    """One clock for all. A message that is not delivered is lost; what an upstream stores is durable at
    once.
    """

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.now = 100.0
        self.timing = Timing(ttl=TTL)
        self._lives = 0
        self._sent: dict[str, list[Send]] = {name: [] for name in TWINS}
        self._journal: dict[int, Entry] = {}
        snapshot = Snapshot(0, 0, 0, Membership(DISKS), b"")
        self.acceptors = [
            rules_acceptor(self.rules, Durable(disk, voting=True, snapshot=snapshot), self.now)
            for disk in DISKS
        ]
        self.twins: dict[str, Proposer] = {}
        for name in TWINS:
            self.start(name)

    # -- machines ------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """The twin's process starts, again perhaps."""
        self._lives += 1
        owner = ProposerId(name, f"life-{self._lives}")
        self.twins[name] = self.rules.twin(
            owner, TWINS.index(name), UPSTREAMS, self.rules.ledger(), self.timing, self.now, lambda: 0.5
        )
        self._sent[name] = []

    def copy_memory(self, name: str) -> str:
        """A copy of this twin's memory goes on beside it, as the same run; the name that the bench gives
        it.
        """
        named = f"copy of {name}"
        self.lose(name)
        self.twins[named], self._sent[named] = copy.deepcopy(self.twins[name]), []
        return named

    def restart_upstream(self, slot: int, ttl: float = TTL) -> None:
        """The upstream's process starts again, from what it had stored, with this setting of the lease."""
        old = self.acceptors[slot]
        entries = list(old.log.after_index(old.snapshot.index))
        durable = Durable(
            old.replica_id, old.voting, old.promised, old.owner, old.snapshot, entries, old.commit
        )
        durable.granted_ms = old.granted_ms
        durable.released = old.released
        self.acceptors[slot] = rules_acceptor(self.rules, durable, self.now, ttl)

    def ledger_of(self, acceptor: Acceptor) -> Ledger:
        """What an upstream has applied."""
        ledger = acceptor._machine
        assert isinstance(ledger, Ledger)
        return ledger

    def wait(self, seconds: float) -> None:
        """Time passes for everybody; nobody does anything."""
        self.now += seconds

    # -- messages ------------------------------------------------------------------------------------------

    def sent(self, name: str, slot: int) -> Send | None:
        """Take the oldest message of the twin to the upstream off the wire; polls are left out."""
        self._collect(name)
        for one in self._sent[name]:
            if one.replica == slot:
                self._sent[name].remove(one)
                return one
        return None

    def _collect(self, name: str) -> None:
        for output in self.twins[name].take():
            if isinstance(output, Applied):
                self._committed(output.entry, name)
            elif isinstance(output, Send) and not isinstance(output.request, Subscribe):
                self._sent[name].append(output)

    def lose(self, name: str) -> None:
        """What the twin has sent does not arrive."""
        self._collect(name)
        for one in self._sent[name]:
            self.twins[name].failed(one.replica, one.at, one.request)
        self._sent[name] = []

    def lose_all_but_releases(self, name: str) -> None:
        """What the twin has asked does not arrive; what gives a lease back is under way."""
        self._collect(name)
        kept = [one for one in self._sent[name] if isinstance(one.request, Release)]
        self._sent[name] = [one for one in self._sent[name] if not isinstance(one.request, Release)]
        self.lose(name)
        self._sent[name] = kept

    def hand(self, name: str, one: Send, *, answer: bool = True) -> None:
        """The upstream gets this message, and the twin the answer."""
        acceptor = self.acceptors[one.replica]
        reply = acceptor.handle(self.now, WALL_MS + round(self.now * 1000), one.request).reply
        for index in range(acceptor.log.base + 1, acceptor.commit + 1):
            self._committed(acceptor.log[index], UPSTREAMS[one.replica])
        if answer:
            self.twins[name].receive(self.now, one.replica, one.at, one.request, reply)
        self._collect(name)
        self._one_holds()

    def exchange(self, name: str, *slots: int, times: int = 1) -> None:
        """The next message to each of the upstreams arrives, and its answer; so many times over."""
        for _ in range(times):
            for slot in slots:
                one = self.sent(name, slot)
                if one is not None:
                    self.hand(name, one)

    def elect(self, name: str, *slots: int) -> bool:
        """The twin tries to be elected by these upstreams: once, and again where it hears of a higher epoch.

        Whether it becomes active; its term is not stored yet.
        """
        for _ in range(3):
            self.lose(name)
            twin = self.twins[name]
            twin._next_try = self.now
            twin.tick(self.now)
            for _ in ("probes", "in earnest"):
                self.exchange(name, *slots)
                for slot in set(range(3)).difference(slots):
                    while self.sent(name, slot):
                        pass
            if twin.role == "active":
                return True
        return False

    def lease_release(self, name: str) -> None:
        """The twin is dead, and its supervisor gives the lease back."""
        release = self.twins[name].lease_release()
        for slot in range(3):
            self.hand(name, Send(slot, release, self.now), answer=False)

    # -- what must hold ------------------------------------------------------------------------------------

    def _committed(self, entry: Entry, by: str) -> None:
        known = self._journal.setdefault(entry.index, entry)
        if known != entry:
            raise Violation(f"{by} committed {entry} where {known} was committed before")

    def _one_holds(self) -> None:
        holders = {twin.owner for twin in self.twins.values() if twin.holds(self.now)}
        if len(holders) > 1:
            raise Violation(f"{holders} both hold the lease")


def rules_acceptor(rules: Rules, durable: Durable, now: float, ttl: float = TTL) -> Acceptor:
    """An upstream that starts from `durable`."""
    return rules.acceptor(durable, rules.ledger(), now, ttl)
