# SPDX-License-Identifier: Apache-2.0
"""Election: a proposer that hears of no other term asks for pre-votes, then for promises; its term begins.

A promise is a lease: what was granted for nothing is given back. Of the promises, the journal with the
highest (epoch, index) is adopted; it must contain the anchor, and a majority of its membership must have
promised.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tmr.quorum import forks, founding
from tmr.quorum.entries import Snapshot
from tmr.quorum.invariants import require
from tmr.quorum.log import Log
from tmr.quorum.majority import ALL, is_all, is_majority
from tmr.quorum.membership import MembershipChanges
from tmr.quorum.messages import Acquire, Promise, ReplicaState
from tmr.quorum.progress import NEVER
from tmr.quorum.roles import Event
from tmr.quorum.rollback import missed
from tmr.quorum.term import Setup

OBJECTS: Final = "the upstreams show a journal without what this twin knows to be committed"
"""Reason why a twin steps back that could be elected."""


class Election(MembershipChanges):
    """Layer of the proposer that stands for election."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.eligible = True
        """May be elected. The runtime says no while this machine could not hold the virtual address."""
        self._seen_epoch = setup.newer_than
        """Highest epoch that a replica said to have promised, or that is known to be used up."""
        self._pre_votes: dict[int, ReplicaState] = {}
        """Replicas that are ready to promise; empty but for a pre-candidate."""
        self._votes: dict[int, tuple[float, Promise]] = {}
        """Promises, and when they were asked for; empty but for a candidate, and the first of its term."""
        self._candidacy_ends = NEVER
        """Time at which a candidate gives up, and gives back what was granted to it."""
        self._asked_again = False
        """In this election some replicas were asked later than others."""

    def check_invariants(self) -> None:
        super().check_invariants()
        require(self.role != "passive" or not self._pre_votes, "a passive proposer has no pre-votes")
        votes = self.role in ("candidate", "active") or not self._votes
        require(votes, "only a candidate has votes, and the term that they began")

    def _try_election(self, now: float) -> None:
        """Ask for pre-votes first: they change nothing, so that a twin which is cut off disturbs no term."""
        self._next_try = now + self.timing.retry * (1 + self._jitter())
        if not self.eligible or self.outdated or self._other_terms():
            if self.role == "candidate":
                self._step_down(now, "withdraws", "this twin may not be elected any more, or another one was")
            return
        if self.role == "candidate" and self.anchors.objection is not None:
            # The lease that was granted for nothing is given back: the other twin may know better.
            self._step_down(now, "withdraws", OBJECTS, pause=self.timing.ttl * (1 + self._jitter()))
            return
        if self.role == "candidate":
            self._persist(now)
            return
        if self.role != "passive":
            self._turn("not elected in time", "no majority answered in time")
        terms = max(self._seen_epoch, self.epoch) // 2 + 1
        self.epoch = terms * 2 + self.rank
        self._turn("stands for election")
        self._pre_votes, self._votes = {}, {}
        self._asked_again = False
        self.anchors.begin(self.log, self.commit)
        self._ask(now, pre_vote=True)

    def _persist(self, now: float) -> None:
        """Keep a candidate's votes and ask the other replicas once more; or give back what was granted.

        A lease without a holder that lives on two replicas keeps both twins from being elected.
        """
        if not self._votes or now >= self._candidacy_ends:
            self._step_down(now, "not elected in time", "no majority answered in time")
            return
        self._next_try = min(self._next_try, self._candidacy_ends)
        self._ask(now, pre_vote=False, replicas=[replica for replica in ALL if replica not in self._votes])

    def _ask_again(self, now: float) -> None:
        """Ask the replicas again that failed, or whose lease for another twin has ended; the votes stay."""
        if self.role not in ("pre-candidate", "candidate") or not self.eligible:
            return
        heard = self._pre_votes if self.role == "pre-candidate" else self._votes
        waiting = [s for s, progress in enumerate(self.replicas) if s not in heard and not progress.busy]
        due = [replica for replica in waiting if now >= self.replicas[replica].ask_at]
        self._asked_again = self._asked_again or bool(due)
        self._ask(now, pre_vote=self.role == "pre-candidate", replicas=due)

    def _other_terms(self) -> bool:
        """Two replicas have reported, to a poll that goes on, that another twin's lease lives."""
        held = [p for p in self.replicas if p.subscribed and p.reachable and p.holder and not p.foreign]
        return is_majority([p for p in held if p.holder != self.owner.name])

    def _ask(self, now: float, *, pre_vote: bool, replicas: Sequence[int] = (0, 1, 2)) -> None:
        request = Acquire(
            epoch=self.epoch,
            owner=self.owner,
            ttl_ms=round(self.timing.ttl * 1000),
            have_index=self.commit,
            have_epoch=self.log.epoch_at(self.commit) or 0,
            pre_vote=pre_vote,
            format=self.newest,
            founding=self.founding,
            have_sum=self.log.sum_at(self.commit),
        )
        for replica in replicas:
            self._send(replica, request, now)

    def _step_down(self, now: float, event: Event, reason: str, pause: float | None = None) -> None:
        super()._step_down(now, event, reason, pause)
        self._votes, self._pre_votes = {}, {}

    # -- votes ---------------------------------------------------------------------------------------------

    @staticmethod
    def rank_of(promise: Promise) -> tuple[int, int]:
        """Rank of a journal that may be adopted: epoch first, length second (never length alone)."""
        return promise.state.last_epoch, promise.state.last_index

    def _count_pre_votes(self, now: float) -> None:
        """Ask for promises once a majority is ready whose journals end no earlier than the anchor."""
        ready = {
            replica: one for replica, one in self._pre_votes.items() if not self.replicas[replica].rolled_back
        }
        if is_all(self._pre_votes):
            ready = self._pre_votes  # as with promises: no other could have what is missing here
        if not is_majority(ready) or self.anchors.shorter(ready, now):
            return
        if not self.founding and founding.prevailing([one.founding for one in ready.values()]) is None:
            return  # two foundings: the third replica decides
        self._turn("majority is ready")
        self._next_try = now + self.timing.retry * (2 + self._jitter())
        self._candidacy_ends = now + self.timing.retry * (5 + self._jitter())
        self._ask(now, pre_vote=False)

    def _count_votes(self, now: float) -> None:
        told = [position for _, promise in self._votes.values() for position in promise.acked]
        for replica, (_, promise) in self._votes.items():
            if any(missed(position, promise.state) for position in told):
                self._distrust(replica, now)
        votes = {
            replica: vote for replica, vote in self._votes.items() if not self.replicas[replica].rolled_back
        }
        if is_all(self._votes):
            votes = self._votes  # all there is: no other could have what is missing here
        if not is_majority(votes):
            return
        stated = [promise.state.founding for _, promise in votes.values()]
        if not self.founding and founding.prevailing(stated) is None:
            return
        forked = self._contradicted({replica: promise for replica, (_, promise) in votes.items()})
        if forked is None or len(forked) == len(votes):
            return  # the third replica decides
        replicas = sorted(
            votes.keys() - forked,
            key=lambda replica: (self.rank_of(votes[replica][1]), self._is_source(replica)),
        )
        best = votes[replicas[-1]][1]
        if newer := self.newer(best.entries, best.snapshot):
            self._unread[replicas[-1]] = newer
            self._step_down(now, "withdraws", newer)
            return
        shown = {replica: promise.state for replica, (_, promise) in votes.items()}
        if forks.replaces(self.log, self.commit, best):
            self.anchors.contradicted(self.anchor, shown, now)
            return
        adopted = self._adopt(best)
        if adopted.last_epoch >= self.epoch:
            # Mirrored meanwhile: epochs never fall along a journal, what conflicts is judged by them.
            self._step_down(now, "withdraws", "a later term has committed entries")
            return
        if self.anchors.shorter(shown, now) or self.anchors.differs(adopted, shown, now):
            return  # the third may have what is missing: it is waited for until the next try
        membership = adopted.membership
        if membership is None:
            return
        valid = {
            replica: sent_at
            for replica, (sent_at, promise) in votes.items()
            if promise.state.replica_id == membership.replica_ids[replica]
        }
        if not is_majority(valid):
            if is_all(votes) and not any(stated):
                self.anchors.unfounded(self.anchor, shown, now)  # founded since, with other stores
            return
        if best.snapshot is not None and best.snapshot.index >= self.commit:
            self._restore(best.snapshot)
        self.log = adopted
        self.commit = max(self.commit, best.state.commit, self.log.base)
        for position in told:
            self.rollbacks.learn(position, now)
        for replica in valid:
            self.replicas[replica].state = votes[replica][1].state
            if self.replicas[replica].rolled_back:
                self.rollbacks.excuse(membership.replica_ids[replica])
        self._begin_term(now, valid)

    def _contradicted(self, promises: Mapping[int, Promise]) -> frozenset[int] | None:
        """Replicas whose journals contradict others, or committed entries; None: it cannot be known."""
        known = self._without_committed(promises)
        rest = {replica: promise for replica, promise in promises.items() if replica not in known}
        others = forks.contradicted(rest)
        self.forked = others is None or bool(known | others)
        return None if others is None else known | others

    def _without_committed(self, promises: Mapping[int, Promise]) -> frozenset[int]:
        """Replicas that have another entry where one is committed, as this twin or another replica knows."""
        here = frozenset(
            replica
            for replica, promise in promises.items()
            if forks.from_committed(self.log, self.commit, promise)
        )
        return here | forks.from_promised(promises)

    def _adopt(self, best: Promise) -> Log:
        """Adopt the journal of the best promise: the mirrored entries, and those that follow there."""
        if best.snapshot is not None and best.snapshot.index >= self.commit:
            return Log.after(best.snapshot, best.entries)
        log = Log.after(
            Snapshot(
                self.log.base,
                self.log.base_epoch,
                self.log.time_at(self.log.base),
                self.log.membership_at(self.log.base),
                b"",
                self.log.format_at(self.log.base),
                self.log.founding_at(self.log.base),
                self.log.sum_at(self.log.base),
            ),
            self.log.after_index(self.log.base, self.commit - self.log.base),
        )
        log.extend(entry for entry in best.entries if entry.index > log.last)
        return log

    def _begin_term(self, now: float, granted: dict[int, float]) -> None:
        self._turn("elected", "two upstreams granted the lease")
        self.serving = False
        self._served_epoch = self.epoch
        for replica, progress in enumerate(self.replicas):
            progress.begin_term(self.log.last, elected=replica in granted)
            if replica in granted:
                self._granted(progress, granted[replica], self._votes[replica][1].granted_ms)
        self.anchors.elected()
        self.agreement.begin_term()
        self._apply()
        self.certified.begin_term()
        first = (
            self.owner.incarnation.encode() if not self.log.last else b""
        )  # what makes this founding its own
        self._term_start = self._add("term", first, now)
        self._replicate(now)
