# SPDX-License-Identifier: Apache-2.0
"""Proposer: the twin's side of the protocol, as a state machine of roles. No I/O, no clock, no randomness.

The runtime calls `tick`, `receive`, `failed` and `submit` with `now` (seconds on the twin's monotonic clock),
and carries out what `take` returns: messages to replicas, and news for the server. At most one request is
under way to each replica besides one `Subscribe`.

The roles and what changes them are in `tmr.quorum.roles`. The class is built in layers, each in a module of
its own that uses only those below: election, membership, replication, following, term, ledger copy. This
module reads the answers, and hands each to its layer.
"""

from collections.abc import Callable

from tmr.quorum import founding
from tmr.quorum.anchor import Anchor
from tmr.quorum.election import Election
from tmr.quorum.entries import FORMAT, AckedPosition, ProposerId, StateMachine
from tmr.quorum.lease import Timing
from tmr.quorum.majority import is_majority
from tmr.quorum.messages import (
    Append,
    Appended,
    Bootstrapped,
    Busy,
    Conflict,
    Fenced,
    Install,
    NotVoting,
    PreVote,
    Promise,
    Release,
    Released,
    ReplicaState,
    Reply,
    Reported,
    Request,
    RequestRefused,
    Subscribe,
    Subscribed,
)
from tmr.quorum.progress import NEVER
from tmr.quorum.term import Setup

Answered = PreVote | Promise | Busy | Fenced | NotVoting | Appended | Conflict | Bootstrapped
"""Answers to what a pre-candidate, a candidate or an active proposer asks."""


class Proposer(Election):
    """Proposer of a twin. `rank` (0 or 1) keeps the two twins' epochs apart; `jitter()` returns [0, 1)."""

    def __init__(
        self,
        owner: ProposerId,
        rank: int,
        names: tuple[str, str, str],
        machine: StateMachine,
        timing: Timing,
        now: float,
        jitter: Callable[[], float],
        anchor: Anchor | None = None,
        newest: int = FORMAT,
        newer_than: int = 0,
    ) -> None:
        super().__init__(Setup(owner, rank, names, machine, timing, now, jitter, anchor, newest, newer_than))
        self.paused_at = NEVER
        """Time at which a pause of this machine by its host was noticed last."""
        self.paused_for = 0.0
        """Seconds that it lasted, about."""

    def tick(self, now: float) -> None:
        """Let time pass. Call at least every `renewal / 4`."""
        if self.role == "active":
            if now >= self.deadline:
                self._step_down(now, "lease ended", "the lease ended: fewer than two upstreams answer")
                return
            self._renew_format(now)
            self._replicate(now)
            return
        self._follow(now)
        if now >= self._next_try:
            self._try_election(now)
        else:
            self._ask_again(now)

    def retire(self, now: float, reason: str) -> None:
        """Give the term back in good order: release the lease, let the other twin follow at once."""
        if self.role == "passive":
            return
        epoch, was = self.epoch, self.role
        self._step_down(now, "retires", reason, pause=self.timing.ttl)
        if was == "active":
            self._release(now, epoch)

    # -- answers -------------------------------------------------------------------------------------------

    def receive(self, now: float, replica: int, sent_at: float, request: Request, reply: Reply) -> None:
        """The replica answered `request`, which was sent at `sent_at`."""
        progress = self.replicas[replica]
        if not self.asked(request):
            return
        if isinstance(request, Subscribe):
            if sent_at < progress.subscribed_at or not progress.subscribed:
                return
            progress.subscribed = False
        elif sent_at >= progress.sent_at and not isinstance(request, Release):
            progress.busy, progress.ask_at = False, float("inf")
            self._order.answered(replica, late=self.shows_another(request, reply))
        self._note(replica, request, sent_at, reply.state, now)
        if self._leave_out(replica, reply, now):
            return
        self._seen_epoch = max(self._seen_epoch, reply.state.promised)
        if self._paused(reply.state, sent_at, now):
            return
        self._compare(replica, reply.state, sent_at, now)
        if self.shows_another(request, reply):
            return
        match reply:
            case Subscribed():
                if isinstance(request, Subscribe):
                    self._compare_entry(replica, request, reply)
                self._followed(now, replica, reply)
            case RequestRefused():
                self._refused(now, replica, request, reply)
            case Released() | Reported():
                pass
            case _:
                self._answered(now, replica, sent_at, request, reply)

    def _answered(self, now: float, replica: int, sent_at: float, request: Request, reply: Answered) -> None:
        """Handle an answer to a message of a term or a candidacy, if that is the present one."""
        progress = self.replicas[replica]
        upto = progress.refused_upto
        if isinstance(reply, Appended) and upto is not None and reply.match_index >= upto:
            progress.refused_upto = None
        if progress.refused_upto is None:
            progress.alarm = ""
        progress.not_voting = isinstance(reply, NotVoting)
        if isinstance(reply, NotVoting):
            progress.new_store = reply.new_store
        if isinstance(reply, Bootstrapped) or not self._current(reply.epoch, reply.owner):
            return
        match reply:
            case Fenced():
                self._fenced(now, reply)
            case Busy():
                progress.holder, progress.holder_epoch = reply.holder, reply.state.promised
                progress.ask_at = now + reply.wait_ms / 1000
            case PreVote() if self.role == "pre-candidate":
                self._pre_votes[replica] = reply.state
                self._count_pre_votes(now)
            case NotVoting() if self.role == "pre-candidate" and not self._asked_again:
                self._found_system(now)  # else with the next pre-vote, which is one and the same for all
            case Promise() if self.role == "candidate":
                self._votes[replica] = (sent_at, reply)
                self._count_votes(now)
            case Appended() if self.role == "active" and self._has_place(replica, reply.state):
                self._appended(now, replica, sent_at, request, reply)
            case Appended() | NotVoting() if self.role == "active":
                # One that votes was founded with other stores while one was being lost: it does not count.
                self._join(now, replica, reply.state.replica_id, sent_at)
            case Conflict() if self.role == "active":
                self._conflicted(now, replica, sent_at, reply)

    def _has_place(self, replica: int, state: ReplicaState) -> bool:
        """The membership counts with this store in this place."""
        membership = self.log.membership
        return membership is not None and membership.replica_ids[replica] == state.replica_id

    def shows_another(self, request: Request, reply: Reply) -> bool:
        """Another process acts as this very run: it has sent later messages, or has written in this term."""
        if isinstance(reply, RequestRefused) and reply.late:
            return True
        state = reply.state
        mine = self.role == "active" and isinstance(request, Append | Install) and request.epoch == self.epoch
        return mine and state.last_epoch == self.epoch and state.last_index > self.log.last

    def failed(self, replica: int, sent_at: float, request: Request) -> None:
        """The replica did not answer `request`: unreachable, too slow, or no replica at all."""
        progress = self.replicas[replica]
        if isinstance(request, Release) or not self.asked(request):
            return
        progress.reachable = False
        if isinstance(request, Subscribe):
            if sent_at < progress.subscribed_at:
                return
            progress.subscribed = False
            progress.holder = None
            return
        progress.failed_at = max(progress.failed_at, sent_at)
        if sent_at >= progress.sent_at:
            progress.busy = False

    def asked(self, request: Request) -> bool:
        """This run of the twin did: an answer to a former run may be old, although it arrives now."""
        return request.owner == self.owner

    def _current(self, epoch: int, owner: ProposerId) -> bool:
        """The answer is to this term or candidacy, not to a former one."""
        return epoch == self.epoch and owner == self.owner

    def _fenced(self, now: float, reply: Fenced) -> None:
        if self.role == "active" and reply.state.promised > self.epoch:
            self._step_down(now, "fenced", f"epoch {reply.state.promised} was promised")
        elif self.role == "active":
            self._step_down(now, "fenced", "the lease was given back on this twin's behalf")
        elif self.role in ("pre-candidate", "candidate"):
            self._step_down(now, "fenced", "a higher epoch is promised")

    def _followed(self, now: float, replica: int, reply: Subscribed) -> None:
        progress = self.replicas[replica]
        if reply.owner != self.owner:
            return
        freed = not reply.holder and self.awaits(progress)
        progress.holder, progress.holder_epoch = reply.holder, reply.holder_epoch
        if self.role == "active":
            return
        if reply.entries or reply.snapshot is not None:
            self._fed_at = now
        if self._may_feed(replica) and not self._undecided():
            self._mirror(now, replica, reply.snapshot, reply.entries)
        self._compare_mirrored(now, replica, reply)
        free = [one for one in self.replicas if one.holder == "" and not one.foreign]
        if freed and self.role == "passive" and is_majority(free):
            self._next_try = min(self._next_try, now)
            self._try_election(now)

    # -- the header of each answer -------------------------------------------------------------------------

    def _note(self, replica: int, request: Request, sent_at: float, state: ReplicaState, now: float) -> None:
        """Take the header as the present state of the replica, unless a later header is known.

        A poll may have waited for long: an active twin, which hears other answers all the time, ignores it.
        """
        progress = self.replicas[replica]
        poll = isinstance(request, Subscribe)
        if self.role != "active" if poll else sent_at >= progress.noted_at:
            if progress.state is not None and progress.state.replica_id != state.replica_id:
                progress.discount()
                progress.rolled_back = False
            progress.state = state
            progress.reachable = progress.reachable or poll or sent_at > progress.failed_at
        if not poll:
            progress.noted_at = max(progress.noted_at, sent_at)
        self.steady.observe(replica, state.clock_ms / 1000, sent_at, now)
        steady_ms = self.steady.read(now) * 1000
        self.certified.observe(self.names[replica], state.wall_ms, steady_ms, state.clock_synchronised)

    def _leave_out(self, replica: int, reply: Reply, now: float) -> bool:
        """Note whether the replica's journal is of another founding; True: its answer counts for nothing."""
        progress = self.replicas[replica]
        progress.foreign = progress.state is not None and self.is_foreign(progress.state)
        if progress.foreign:
            progress.discount()
            self._votes.pop(replica, None)
            self._pre_votes.pop(replica, None)
        others = {
            at: one.state for at, one in enumerate(self.replicas) if one.foreign and one.state is not None
        }
        # The anchor has a checksum, which is not to be computed for each answer.
        self.anchors.foreign(self.anchor if is_majority(others) else None, others, now)
        # Neither may be foreign: the store that is there now, and the one that answered, maybe long ago.
        if not progress.foreign and not self.is_foreign(reply.state):
            return False
        known = self.founding or founding.prevailing(self._stated()) or ""
        told = founding.of_upstream(others[replica].founding, known) if replica in others else ""
        progress.alarm = told if len(others) == 1 else ""
        if isinstance(reply, Subscribed) and reply.owner == self.owner:
            progress.holder, progress.holder_epoch = reply.holder, reply.holder_epoch
        return True

    def _paused(self, state: ReplicaState, sent_at: float, now: float) -> bool:
        """This machine was paused by its host, and so gives its term up: its clocks were no measure."""
        seconds = self._pauses.observe(state.replica_id, state.clock_ms / 1000, sent_at, now)
        if not seconds:
            return False
        self.paused_at, self.paused_for = now, seconds
        self._pauses.forget_all_but(
            progress.state.replica_id for progress in self.replicas if progress.state is not None
        )
        if self.role != "active":
            return False
        why = f"this machine stood still for about {seconds:.1f} s, and its clocks with it"
        self._step_down(now, "machine was paused", why)
        return True

    def _compare(self, replica: int, state: ReplicaState, sent_at: float, now: float) -> None:
        """Compare the answer with what the replica has confirmed before, and learn what it confirms now."""
        progress = self.replicas[replica]
        if self.rollbacks.rolled_back(state, sent_at):
            self._distrust(replica, now)
            return
        if sent_at >= progress.rolled_back_at:
            progress.rolled_back = False
        if not progress.rolled_back and state.term >= 0:
            self.rollbacks.learn(AckedPosition(state.replica_id, state.term, 0, state.commit), now)
