# SPDX-License-Identifier: Apache-2.0
"""Term of a proposer: its identity and role, its lease, and what it knows of each replica.

This is the state that following, replication, membership and election have in common. Each of these is a
layer of the class `Proposer`, in a module of its own, and uses only the layers below it.
"""

import math
from collections.abc import Callable

import msgspec

from tmr.quorum import founding
from tmr.quorum.agreement import Agreement
from tmr.quorum.anchor import Anchor, AnchorCheck, at
from tmr.quorum.commitment import confirmed_since
from tmr.quorum.consensus_clock import CertifiedClock
from tmr.quorum.entries import Entry, Kind, ProposerId, StateMachine
from tmr.quorum.invariants import require
from tmr.quorum.lease import Timing, deadline
from tmr.quorum.ledger_copy import LedgerCopy
from tmr.quorum.majority import ALL
from tmr.quorum.message_order import OwnOrder
from tmr.quorum.messages import Acquire, Append, Install, Release, ReplicaState, Request
from tmr.quorum.outputs import RoleChanged, Send
from tmr.quorum.pause import PauseDetector
from tmr.quorum.progress import NEVER, Progress
from tmr.quorum.roles import Event, Role, after
from tmr.quorum.rollback import RollbackDetector
from tmr.quorum.steady_clock import SteadyClock


class Setup(msgspec.Struct, frozen=True):
    """Initial state of a proposer."""

    owner: ProposerId
    rank: int
    """0 or 1: keeps the epochs of the two twins apart."""
    names: tuple[str, str, str]
    """Names of the replicas, for people and for certified time."""
    machine: StateMachine
    timing: Timing
    now: float
    jitter: Callable[[], float]
    """Chance in [0, 1)."""
    anchor: Anchor | None
    newest: int
    """Newest format of the journal that it can apply."""
    newer_than: int = 0
    """Epoch: its terms are newer."""


class Term(LedgerCopy):
    """Role, lease and replicas of one proposer."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup.machine, setup.newest)
        self.owner = setup.owner
        self.rank = setup.rank
        self.names = setup.names
        self.timing = setup.timing
        self.role: Role = "passive"
        self.epoch = 0
        """Epoch of its term or candidacy; afterwards, of the last one."""
        self.serving = False
        """The term is committed, and a majority has this ledger."""
        self.replicas = (Progress(), Progress(), Progress())
        self.certified = CertifiedClock()
        self.steady = SteadyClock()
        self._order = OwnOrder()
        self.forked = False
        """Two replicas had different entries of one epoch when they were compared last."""
        self.rollbacks = RollbackDetector()
        self.anchors = AnchorCheck(setup.anchor)
        self.agreement = Agreement()
        self._jitter = setup.jitter
        self._pauses = PauseDetector(setup.timing.pause, setup.timing.ttl)
        self._sent_at = NEVER
        """Time at which the last question was sent: no two have the same, even if the clock stands still."""
        self._next_try = setup.now + setup.timing.retry * (setup.rank + setup.jitter())
        """Time at which it stands for election next."""

    def check_invariants(self) -> None:
        super().check_invariants()
        active, last = self.role == "active", self.log.last
        require(active or not self.serving, "only an active proposer serves")
        require(active or last == self.commit, "only an active proposer has entries that are not committed")
        if active:
            require(self.epoch % 2 == self.rank, "the two proposers never use the same epoch")
            require(self.log.last_epoch == self.epoch, "the journal ends with an entry of the term")
        for progress in self.replicas:
            granted = progress.granted_until is not None or progress.confirmed_at > NEVER
            counts = granted or progress.match_index > 0
            require(active or not granted, "a lease is granted in a term alone")
            if active:
                require(progress.match_index <= last, "no replica has more than the journal")
                require(progress.next <= last + 1, "no gap is sent")
                require(not (counts and progress.foreign), "a foreign replica counts for nothing")
                require(not (counts and progress.rolled_back), "a replica rolled back counts for nothing")

    # -- the lease -----------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """Time at which the lease ends by this twin's clock; -inf when it has none."""
        if self.role != "active":
            return float("-inf")
        ends = [
            progress.granted_until
            for replica, progress in enumerate(self.replicas)
            if progress.granted_until is not None and self.is_member(replica)
        ]
        return deadline(ends)

    def holds(self, now: float) -> bool:
        """The twin is active, its term is committed, its lease lives: only then may it answer a client."""
        return self.role == "active" and self.serving and now < self.deadline

    def _granted(self, progress: Progress, sent_at: float, granted_ms: int) -> None:
        """Note a granted message. The lease counts from when it was *sent*: when the answer came is too late.

        It lasts for what the replica says that it granted, if that is less than this proposer's own setting.
        """
        seconds = granted_ms / 1000
        progress.grant(seconds, sent_at + self.timing.usable_of(seconds))

    @property
    def renewal(self) -> float:
        """Seconds after which an active that has nothing to write renews its lease."""
        lengths = [progress.granted for progress in self.replicas if progress.granted is not None]
        return Timing(min([self.timing.ttl, *lengths])).renewal

    # -- reads ---------------------------------------------------------------------------------------------

    @property
    def confirmed(self) -> float:
        """A majority took messages as of this term that were all sent at this time or later; -inf: none."""
        if self.role != "active" or not self.serving:
            return NEVER
        return confirmed_since([self.replicas[replica].confirmed_at for replica in self._member_replicas()])

    def read_mark(self, now: float) -> float:
        """The mark of a read that came in just now: it is confirmed once `confirmed` is no less."""
        return max(now, math.nextafter(self._sent_at, math.inf))

    # -- replicas that count -------------------------------------------------------------------------------

    def _member_replicas(self) -> set[int]:
        """Replicas that count: see `is_member`."""
        return {replica for replica in ALL if self.is_member(replica)}

    def is_member(self, replica: int) -> bool:
        """The membership counts with the store that answers; it was not rolled back, and is not foreign."""
        membership, progress = self.log.membership, self.replicas[replica]
        if membership is None or progress.state is None or progress.rolled_back or progress.foreign:
            return False
        return progress.state.replica_id == membership.replica_ids[replica]

    @property
    def founding(self) -> str:
        """Founding of the journal that this twin knows, by its memory or its anchor; empty: none."""
        return self.log.founding_at(self.commit) or self.anchors.founding

    def _stated(self) -> list[str]:
        return [progress.state.founding for progress in self.replicas if progress.state is not None]

    def is_foreign(self, state: ReplicaState) -> bool:
        """The replica's journal is of another founding than this twin's.

        A twin that knows none goes by what two replicas state.
        """
        return founding.differ(state.founding, self.founding or founding.prevailing(self._stated()) or "")

    def _distrust(self, replica: int, now: float) -> None:
        """An older state was put back: its vote, its lease and what it stored before count for nothing."""
        self.replicas[replica].distrust(now, self.log.last)

    # -- entries and messages ------------------------------------------------------------------------------

    def _add(self, kind: Kind, body: bytes, now: float) -> int:
        index = self.log.last + 1
        time_ms = self.certified.read(self.steady.read(now) * 1000, self.log.last_time)
        self.log.extend([Entry(index, self.epoch, time_ms, kind, body, self.format)])
        return index

    def _send(self, replica: int, request: Request, now: float) -> None:
        at = self._sent_at = self.read_mark(now)
        self.replicas[replica].busy = True
        self.replicas[replica].sent_at = at
        self.replicas[replica].ask_at = now + self.timing.again
        if isinstance(request, Acquire | Append | Install):
            request = msgspec.structs.replace(request, number=self._order.next())
        self._outputs.append(Send(replica, request, at))

    def _release(self, now: float, epoch: int) -> None:
        for replica in ALL:
            self._outputs.append(Send(replica, Release(epoch, self.owner), now))

    def lease_release(self) -> Release:
        """Message that releases the lease on behalf of this twin, should it die."""
        return Release(self.epoch, self.owner)

    @property
    def anchor(self) -> Anchor | None:
        """Highest position that this twin takes for committed, also on the word of one replica."""
        return self.anchors.current(self.log, self.commit)

    @property
    def confirmed_anchor(self) -> Anchor | None:
        """Anchor for this machine's disk, to be kept now and then: the highest position that a majority has.

        One replica feeds a passive twin. What no second one has confirmed must not be held against the
        journals of later elections.
        """
        if self.role == "active" and self.serving:
            return at(self.log, self.commit)
        return self.anchors.kept or self.anchors.confirmed

    # -- the role ------------------------------------------------------------------------------------------

    def _turn(self, event: Event, reason: str = "") -> None:
        """Take the role that the event leads to; people are told the reason, if there is one."""
        self.role = after(self.role, event)
        if reason:
            self._outputs.append(RoleChanged(self.role, self.epoch, reason))

    def _step_down(self, now: float, event: Event, reason: str, pause: float | None = None) -> None:
        """End the term or the candidacy, for this reason; stand for election again after about `pause`."""
        was = self.role
        self.anchors.confirm(self.confirmed_anchor)
        if was == "active":
            self.certified.end_term()
            self.rollbacks.term_ended()
        if was == "candidate":
            self._release(now, self.epoch)
        self.serving = False
        for progress in self.replicas:
            progress.end_term()
        self._next_try = now + (self.timing.retry * (0.3 + self._jitter()) if pause is None else pause)
        self.log.cut(self.commit)  # what is not known to be committed, the next term decides
        self._turn(event, reason)
