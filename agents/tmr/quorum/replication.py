# SPDX-License-Identifier: Apache-2.0
"""Replication: an active proposer sends its journal to the replicas, and counts what they have stored.

At most one message is under way to each replica: while it is, the next batch fills. Where all three keep up,
the slowest is the *lagging* replica: no commitment waits for it, and it gets messages less often.
"""

from typing import Final

from tmr.quorum.anchor import at
from tmr.quorum.commitment import commit_index
from tmr.quorum.entries import AckedPosition, Entry
from tmr.quorum.following import Following
from tmr.quorum.invariants import require
from tmr.quorum.majority import ALL, is_all
from tmr.quorum.messages import Append, Appended, Conflict, Install, Request, RequestRefused
from tmr.quorum.outputs import NotActive, Overloaded, Serving
from tmr.quorum.progress import NEVER
from tmr.quorum.term import Setup

BATCH_ENTRIES: Final = 1_000
"""Entries in one append."""
BATCH_BYTES: Final = 2**19
"""Bodies in one append, unless one alone has more: a replica reads nothing else meanwhile."""
BACKLOG: Final = 20_000
"""Uncommitted commands, or entries, at which further ones are turned away."""
LAGGING_PAUSE: Final = 0.02
"""Seconds that entries may wait for the replica which no majority needs: one message then carries many."""
HYSTERESIS: Final = 2.0
"""Factor by which a replica must answer slower than the lagging one to take its place."""


class Replication(Following):
    """Layer of the proposer that replicates the journal, and commits."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._term_start = 0
        """Index of the term's first entry: once that is committed, all that was adopted is."""
        self._lagging = 2
        """The replica that was the slowest when this was last looked at."""
        self._wanted = NEVER
        """A round that starts after this is to be confirmed."""

    def check_invariants(self) -> None:
        super().check_invariants()
        require(not self.serving or self.commit >= self._term_start > 0, "only a committed term is served")

    def idle(self, now: float, answered: int | None = None) -> bool:
        """Tells whether a command leaves at once: a replica whose answer counts has nothing to do.

        `answered`: a replica whose answer is about to be received. A command that is submitted after that may
        be late: the next message to this replica may have left.
        """
        lagging = self._lagging_replica(now)
        return any(
            replica != lagging
            and (
                replica == answered or (progress.reachable and not progress.busy and not progress.not_voting)
            )
            for replica, progress in enumerate(self.replicas)
        )

    def submit(self, now: float, *bodies: bytes) -> int:
        """Put commands into the journal; `Applied` follows for each once it is committed.

        Returns the index of the first; the others follow it. Raises NotActive or Overloaded; none of them is
        in the journal then.
        """
        if not self.holds(now):
            raise NotActive
        if self.log.last - self.commit + len(bodies) > BACKLOG:
            raise Overloaded
        first = self.log.last + 1
        for body in bodies:
            self._add("command", body, now)
        self._replicate(now)
        return first

    def demand_round(self, now: float) -> bool:
        """Have all reads confirmed that came in until now; True: there is something to `take`.

        One round serves them all. While messages are under way, the next ones do.
        """
        self._wanted = self.read_mark(now)
        if self.role == "active":
            self._replicate(now)
        return bool(self._outputs)

    def _replicate(self, now: float) -> None:
        lagging, renewal = self._lagging_replica(now), self.renewal
        wanted = self._wanted if self.confirmed < self._wanted else NEVER
        for replica, progress in enumerate(self.replicas):
            if progress.busy:
                continue
            due = now - progress.sent_at >= (renewal if progress.reachable else self.timing.again)
            behind = progress.reachable and not progress.not_voting
            behind = behind and (progress.next <= self.log.last or progress.sent_at < wanted)
            behind = behind and not self._unconfirmed(replica)
            if replica == lagging and now - progress.sent_at < LAGGING_PAUSE:
                behind = self.log.last - progress.next >= BATCH_ENTRIES
            if due or behind:
                self._send(replica, self._next_message(replica), now)

    def _lagging_replica(self, now: float) -> int | None:
        """The replica whose answers no commitment waits for, the slowest of three that all keep up.

        None: every answer is needed, or may be, because one of the others is late.
        """
        if not is_all(self._member_replicas()) or not all(
            p.reachable and not p.not_voting for p in self.replicas
        ):
            return None
        slowest = max(ALL, key=lambda replica: self.replicas[replica].delay)
        if self.replicas[slowest].delay > HYSTERESIS * self.replicas[self._lagging].delay:
            self._lagging = slowest
        for replica, progress in enumerate(self.replicas):
            if replica != self._lagging and progress.busy and now - progress.sent_at > LAGGING_PAUSE:
                return None
        return self._lagging

    def _next_message(self, replica: int) -> Append | Install:
        progress = self.replicas[replica]
        if replica in self.agreement.differing and self._may_install(replica):
            return self._installation()
        previous = progress.next - 1
        epoch = self.log.epoch_at(previous)
        entries: tuple[Entry, ...] = ()
        if previous >= self.log.base and epoch is not None:
            entries = tuple(self.log.after_index(previous, BATCH_ENTRIES, BATCH_BYTES))
            progress.next = previous + len(entries) + 1
        elif progress.reachable and not self._unconfirmed(replica):
            return self._installation()
        else:
            # A snapshot is large, and would be made anew for each try: first see if it answers.
            previous, epoch = self.log.base, self.log.base_epoch
        return Append(
            epoch=self.epoch,
            owner=self.owner,
            ttl_ms=round(self.timing.ttl * 1000),
            previous_index=previous,
            previous_epoch=epoch,
            entries=entries,
            commit=self.commit,
            digest_index=self.applied,
            digest=self._machine.digest() if self.applied else b"",
            acked=self.rollbacks.of(self._disks()),
            founding=self.log.founding_at(self.log.last),
            previous_sum=self.log.sum_at(previous),
        )

    def _unconfirmed(self, replica: int) -> bool:
        """The replica needs a snapshot, and this twin's ledger is not confirmed enough to be sent."""
        return self.replicas[replica].next <= self.log.base and not self._may_install(replica)

    def _disks(self) -> tuple[str, ...]:
        membership = self.log.membership
        return membership.replica_ids if membership is not None else ()

    def _installation(self) -> Install:
        return Install(self.epoch, self.owner, round(self.timing.ttl * 1000), self._snapshot())

    # -- answers -------------------------------------------------------------------------------------------

    def _appended(self, now: float, replica: int, sent_at: float, request: Request, reply: Appended) -> None:
        """A replica of the membership has stored the journal."""
        progress = self.replicas[replica]
        self._agrees(replica, sent_at, request, reply)
        if progress.rolled_back:
            progress.next = min(reply.match_index, self.log.last) + 1
            self._replicate(now)
            return
        self._granted(progress, sent_at, reply.granted_ms)
        progress.took(sent_at)
        progress.delay += (now - sent_at - progress.delay) / 16
        progress.stored(reply.match_index, self.log.last)
        if reply.state.term == self.epoch:
            self.rollbacks.learn(
                AckedPosition(
                    reply.state.replica_id,
                    self.epoch,
                    self.log.epoch_at(reply.match_index) or 0,
                    reply.match_index,
                ),
                now,
            )
        before = self.commit
        if self._advance():
            self._apply()
            self._forget()
        if before < self._term_start <= self.commit and not self.serving:
            self._wanted = self.read_mark(now)  # who knew of more commits than this twin compares now
        self._serve()
        self._replicate(now)

    def _conflicted(self, now: float, replica: int, sent_at: float, reply: Conflict) -> None:
        """A replica does not have the entry before those that it was sent: go back to where it says."""
        progress = self.replicas[replica]
        if not progress.rolled_back and progress.refused_upto is None:
            self._granted(progress, sent_at, reply.granted_ms)
            progress.took(sent_at)
        progress.next = min(progress.next, reply.retry_index + 1)
        self._replicate(now)

    def _serve(self) -> None:
        """Serve, once the term is committed and two replicas have this twin's ledger."""
        if not self.serving and self.commit >= self._term_start and self.agreed():
            self.serving, self._sources = True, frozenset()
            self._outputs.append(Serving(self.epoch))

    def agreed(self) -> bool:
        """Two replicas have this twin's ledger."""
        return self.agreement.compared

    def _advance(self) -> bool:
        """Raise the commit index to what a majority has stored; False: it has not."""
        stored = [self.replicas[replica].match_index for replica in self._member_replicas()]
        before, self.commit = self.commit, commit_index(stored, self.commit, self.counts)
        if before < self._term_start <= self.commit:
            self.rollbacks.term_committed()
            self.anchors.confirm(at(self.log, self.commit))
            self._serve()
        return self.commit > before

    def counts(self, index: int) -> bool:
        """Only entries of the own epoch are counted for commitment; older ones follow them (Raft 5.4.2)."""
        return self.log.epoch_at(index) == self.epoch

    # -- the ledgers of the replicas -----------------------------------------------------------------------

    def _agrees(self, replica: int, sent_at: float, request: Request, reply: Appended) -> None:
        """Note that the replica has this twin's ledger, if it was in a position to compare them."""
        if isinstance(request, Install):
            self.agreement.installed(replica)
            return
        compared = isinstance(request, Append) and reply.state.commit == request.digest_index
        if compared and self.is_member(replica):
            self.agreement.agrees(replica, sent_at)

    def _differs(self, now: float, replica: int, request: Request) -> None:
        """A replica has another ledger. If a second replica has one, too, this twin's is wrong."""
        this_term = isinstance(request, Append) and request.epoch == self.epoch
        if self.role != "active" or not this_term or not self.is_member(replica):
            return
        self.agreement.differs(replica, now)
        if self.agreement.outvoted:
            serving, epoch = self.serving, self.epoch
            why = "two upstreams have another ledger: mirroring it anew"
            self._step_down(now, "ledger is contradicted", why, self.timing.ttl)
            if not serving:
                self._release(now, epoch)  # it had no address yet, and the other twin may have the right one
            self._drop_ledger()

    def _may_install(self, replica: int) -> bool:
        """This twin's ledger may be sent there: all others that can compare it have confirmed it."""
        for other, progress in enumerate(self.replicas):
            if other == replica or other in self.agreement.agreed or not self.is_member(other):
                continue
            stands_still = progress.refused_upto is not None and other not in self.agreement.differing
            if (
                progress.reachable
                and not progress.not_voting
                and progress.next > self.log.base
                and not stands_still
            ):
                return False
        return self.agreement.may_install(replica)

    def _refused(self, now: float, replica: int, request: Request, reply: RequestRefused) -> None:
        """A replica takes no such message: it stands still, and may have another ledger."""
        progress = self.replicas[replica]
        progress.alarm = reply.reason
        if reply.differs:
            self._differs(now, replica, request)
        if isinstance(request, Append):
            progress.refused_upto = request.previous_index + len(request.entries)
        elif isinstance(request, Install):
            progress.refused_upto = request.snapshot.index
            self.agreement.refused(replica)
