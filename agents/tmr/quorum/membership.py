# SPDX-License-Identifier: Apache-2.0
"""Membership: three new stores become a system, a new store takes the place of a lost one.

Changes go through the journal, one at a time. A store counts once its admission is committed and it has a
snapshot; a replaced store never counts again. The journal's format, too, is changed only when all know the
next one.
"""

import math
from collections.abc import Sequence

from tmr.quorum import formats
from tmr.quorum.entries import FIRST, Membership, encode_format, encode_membership
from tmr.quorum.majority import ALL, is_all
from tmr.quorum.messages import Bootstrap, ReplicaState
from tmr.quorum.replication import Replication


class MembershipChanges(Replication):
    """Layer of the proposer that founds a system, admits stores, and begins formats."""

    def _found_system(self, now: float) -> None:
        """Three new stores, and no twin was ever elected: this is a new system."""
        heard = [
            progress
            for progress in self.replicas
            if progress.reachable and progress.noted_at >= progress.sent_at
        ]
        states = [
            progress.state for progress in heard if progress.state is not None
        ]  # in answer to this probe
        new = [progress for progress in self.replicas if progress.not_voting and progress.new_store]
        if not is_all(states) or not new or any(m.promised or m.last_index for m in states):
            return
        if any(progress.not_voting and not progress.new_store for progress in self.replicas):
            return
        if not self.may_found(states, now):
            return
        replica_ids = (states[0].replica_id, states[1].replica_id, states[2].replica_id)
        for replica in ALL:
            self._send(replica, Bootstrap(self.owner, Membership(replica_ids)), now)
        self._step_down(now, "founds the system", "founding the system")

    def may_found(self, states: Sequence[ReplicaState], now: float) -> bool:
        """This twin knows no system that these new stores would take the place of."""
        return not self.anchors.unfounded(self.anchor, dict(enumerate(states)), now)

    def _join(self, now: float, replica: int, replica_id: str, sent_at: float) -> None:
        """A replica that does not count: readmit its store by the journal, then send it everything."""
        membership = self.log.membership
        if not self.holds(now) or membership is None:
            return
        progress = self.replicas[replica]
        if membership.replica_ids[replica] == replica_id:
            committed = self.log.membership_at(self.commit)
            known = committed is not None and committed.replica_ids[replica] == replica_id
            if known and not progress.busy and self._may_install(replica):
                progress.next = self.applied + 1
                self._send(replica, self._installation(), now)
        elif replica_id in membership.retired:
            progress.alarm = (
                "this upstream runs on a disk that was replaced: it never counts again; if it is to be a "
                "member, move its state directory away and start it"
            )
        elif not self._membership_pending() and self._stays(now, replica, replica_id, sent_at):
            progress.discount()
            self._add("members", encode_membership(membership.replacing(replica, replica_id)), now)
            self._replicate(now)

    def _stays(self, now: float, replica: int, replica_id: str, sent_at: float) -> bool:
        """The new store answered before and after a majority confirmed this term; a round is asked for.

        A single answer may be old: the lease seems to live on where the machine's clocks stood still, and
        the member may have its store again. This one answers to a question that was sent at `sent_at`.
        """
        progress = self.replicas[replica]
        if progress.joining != replica_id:
            progress.joining, progress.joining_at = replica_id, self.read_mark(now)
            progress.joining_confirmed = math.inf
            self.demand_round(now)
        elif sent_at >= progress.joining_confirmed:
            return True
        elif progress.joining_confirmed == math.inf and self.confirmed >= progress.joining_at:
            progress.joining_confirmed = self.read_mark(now)
            if not progress.busy:
                self._send(replica, self._next_message(replica), now)
        return False

    def _membership_pending(self) -> bool:
        return self.log.membership != self.log.membership_at(self.commit)

    # -- the format ----------------------------------------------------------------------------------------

    def agreed_format(self) -> int:
        """Newest format that the three replicas and both twins have announced, as heard in this term."""
        states = [
            progress.state
            for replica, progress in enumerate(self.replicas)
            if progress.state is not None
            and progress.reachable
            and progress.granted_until is not None
            and self.is_member(replica)
        ]
        if len(states) < len(self.replicas):
            return FIRST
        return min(self.known_to_replicas(states), self.known_to_twins(states))

    @staticmethod
    def known_to_replicas(states: Sequence[ReplicaState]) -> int:
        """Newest format that all of these can apply."""
        return min(state.format for state in states)

    def known_to_twins(self, states: Sequence[ReplicaState]) -> int:
        """Newest format that both twins can apply, as all replicas have heard."""
        return formats.known_to_twins(states, self.owner.name, self.newest)

    def _renew_format(self, now: float) -> None:
        """Go over to the newest format that all machines can apply."""
        if self.format == self.newest or not self.holds(now):
            return
        if self.format == self.log.format_at(self.commit) and (agreed := self.agreed_format()) > self.format:
            self._add("format", encode_format(agreed), now)
