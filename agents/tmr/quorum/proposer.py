"""The twin's side of the protocol: follow, get elected, serve, replicate. No I/O, no clock, no randomness.

The rim calls `tick`, `receive`, `failed` and `submit` with `now` (seconds on the twin's monotonic clock), and
carries out what `take` returns: messages to upstreams, and news for the server. At most one request is under
way to each upstream besides one `Subscribe`: while it is, the next batch fills.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec

from tmr.quorum import formats, founding
from tmr.quorum.agreement import Agreement
from tmr.quorum.anchor import Anchor, AnchorCheck
from tmr.quorum.consensus_clock import CertifiedClock
from tmr.quorum.entries import (
    FIRST,
    FORMAT,
    AckedPosition,
    Entry,
    Kind,
    Membership,
    ProposerId,
    Snapshot,
    StateMachine,
    encode_format,
    encode_membership,
)
from tmr.quorum.lease import Timing, deadline
from tmr.quorum.log import Log
from tmr.quorum.messages import (
    Acquire,
    Append,
    Appended,
    Bootstrap,
    Busy,
    Conflict,
    Fenced,
    Install,
    NotVoting,
    Probed,
    Promise,
    Release,
    Released,
    ReplicaState,
    Reply,
    Request,
    RequestRefused,
    Subscribe,
    Subscribed,
)
from tmr.quorum.pause import PauseDetector
from tmr.quorum.rollback import RollbackDetector, missed
from tmr.quorum.steady_clock import SteadyClock

Role = Literal["passive", "probing", "candidate", "active"]

BATCH_ENTRIES: Final = 1_000
"""Entries in one append."""
BATCH_BYTES: Final = 2**19
"""Bodies in one append, unless one alone has more: who takes them hears nobody else meanwhile."""
BACKLOG: Final = 20_000
"""Uncommitted commands, or entries, at which further ones are turned away."""
LAGGING_PAUSE: Final = 0.02
"""Seconds that entries may wait for the upstream which no majority needs: one message then carries many."""
FEED_PAUSE: Final = 0.02
"""Seconds that a passive twin leaves between two messages with entries: the next one has more of them."""
HYSTERESIS: Final = 2.0
"""So many times slower than the lagging upstream one must answer to become the lagging one itself."""
LOG_RETAIN_ENTRIES: Final = 20_000
"""Applied entries kept in memory to catch up an upstream by journal; beyond that it gets a snapshot."""
LOG_RETAIN_BYTES: Final = 10 * 2**20
"""Bytes of their bodies, at most."""
OBJECTS: Final = "the upstreams show a journal without what this twin knows to be committed"
"""Reason why a twin steps back that could be elected."""


class Send(msgspec.Struct, frozen=True):
    """Send `request` to the upstream in `replica`; report the answer by `receive` or `failed`."""

    replica: int
    request: Request
    at: float
    """The `now` of the decision: the lease counts from here. Hand it back with the answer."""


class Applied(msgspec.Struct, frozen=True):
    """Entry `index` is committed and applied; `outcome` is the state machine's."""

    index: int
    entry: Entry
    outcome: Any


class RoleChanged(msgspec.Struct, frozen=True):
    """The twin became `role`; `reason` is for people."""

    role: Role
    epoch: int
    reason: str


class Serving(msgspec.Struct, frozen=True):
    """The term is committed: the twin may answer clients and claim the VIP while `holds`."""

    epoch: int


Output = Send | Applied | RoleChanged | Serving


class NotActive(Exception):
    """A command was submitted to a twin that is not active, or whose lease has ended."""


class Overloaded(Exception):
    """Too many commands wait for commitment."""


class Progress(msgspec.Struct):
    """Progress of one upstream as the twin knows it."""

    state: ReplicaState | None = None
    reachable: bool = False
    busy: bool = False
    subscribed: bool = False
    subscribed_at: float = float("-inf")
    """Time at which the `Subscribe` that is under way was sent: an answer to an earlier one must not start
    another.
    """
    with_entries: bool = False
    """The `Subscribe` under way asks for entries, too."""
    holder: str | None = None
    """Last known lease holder there: a twin's name, "" for nobody, None unknown."""
    holder_epoch: int = 0
    granted_until: float | None = None
    """End of the lease that it granted in this term, by this twin's clock."""
    confirmed_at: float = float("-inf")
    """Time at which the last message was sent that it took as one of this term."""
    granted: float | None = None
    """Seconds of the lease that it granted last."""
    match_index: int = 0
    next: int = 1
    sent_at: float = float("-inf")
    ask_at: float = float("inf")
    """Time at which it is asked again within the election that goes on: it failed, or another lease ends
    then.
    """
    delay: float = 0.0
    """Seconds that its answers to appends take, smoothed."""
    new_store: bool = False
    not_voting: bool = False
    rolled_back: bool = False
    """It shows less than its disk has confirmed: it counts for nothing before it has that again."""
    rolled_back_at: float = float("-inf")
    """Time at which that was last seen."""
    noted_at: float = float("-inf")
    """Time at which the message was sent whose answer `member` is from."""
    failed_at: float = float("-inf")
    """Time at which the last message was sent that it did not answer in time: an answer to that, or to one
    before,
    does not say that it is there now."""
    refused_upto: int | None = None
    """It refused a message that ends with this entry: it stands still, and has no vote before it took it."""
    foreign: bool = False
    """Its journal is of another founding: it counts for nothing."""
    alarm: str = ""


class Proposer:
    """One twin. `rank` (0 or 1) keeps the two twins' epochs apart; `jitter()` returns [0, 1)."""

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
    ) -> None:
        self.owner = owner
        self.newest = newest
        """Newest format of the journal that it can apply."""
        self.rank = rank
        self.names = names
        self.timing = timing
        self.role: Role = "passive"
        self.epoch = 0
        self.serving = False
        self.eligible = True
        """May be elected. The rim says no while this machine could not hold the virtual address."""
        self.replicas = (Progress(), Progress(), Progress())
        self.log = Log()
        self.commit = 0
        self.applied = 0
        self.certified = CertifiedClock()
        self.steady = SteadyClock()
        self.rollbacks = RollbackDetector()
        self.anchors = AnchorCheck(anchor)
        self.agreement = Agreement()
        self.dropped = 0
        """Times that the ledger was dropped, because two upstreams had another."""
        self._sources = frozenset[int]()
        """Upstreams that had another: the next one is mirrored from these alone. Empty: from all."""
        self._machine = machine
        self._jitter = jitter
        self._seen_epoch = 0
        self._votes: dict[int, tuple[float, Promise]] = {}
        self._probed: dict[int, ReplicaState] = {}
        self._candidacy_ends = float("-inf")
        """Time at which a candidate gives up, and gives back what was granted to it."""
        self._asked_again = False
        """In this election some were asked later than others."""
        self._term_start = 0
        self._served_epoch = 0
        """Epoch of its last term."""
        self._lagging = 2
        self._sent_at = float("-inf")
        """Time at which the last question was sent: no two have the same time, though the clock may stand
        still.
        """
        self._wanted = float("-inf")
        """A round that starts after this is to be confirmed."""
        self._pauses = PauseDetector(timing.pause, timing.ttl)
        self.paused_at = float("-inf")
        """Time at which a pause of this machine by its host was noticed last."""
        self.paused_for = 0.0
        """Seconds that it lasted, about."""
        self._unread: dict[int, str] = {}
        """Slots of upstreams that sent what this version cannot apply → why."""
        self._fed_at = float("-inf")
        """Time at which entries came last from the upstream that it follows."""
        self._next_try = now + timing.retry * (rank + jitter())
        self._outputs: list[Output] = []
        machine.restore(b"", FIRST)

    def take(self) -> list[Output]:
        """Returns the actions to be done, in order; empties the list."""
        outputs, self._outputs = self._outputs, []
        return outputs

    # -- the lease -----------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """Time at which the lease ends by this twin's clock; -inf when it has none."""
        if self.role != "active":
            return float("-inf")
        return deadline(
            progress.granted_until
            for replica, progress in enumerate(self.replicas)
            if progress.granted_until is not None and self.is_member(replica)
        )

    def holds(self, now: float) -> bool:
        """The twin is active, its term is committed, its lease lives: only then may it answer a client."""
        return self.role == "active" and self.serving and now < self.deadline

    def _granted(self, progress: Progress, sent_at: float, granted_ms: int, now: float) -> None:
        """Note a granted message. The lease counts from when it was *sent*: `now` is too late.

        It lasts for what the upstream says that it granted, if that is less than this twin's own setting.
        """
        progress.granted = granted_ms / 1000
        until = sent_at + self.timing.usable_of(progress.granted)
        progress.granted_until = (
            until if progress.granted_until is None else max(progress.granted_until, until)
        )

    # -- reads ---------------------------------------------------------------------------------------------

    @property
    def confirmed(self) -> float:
        """A majority took messages as of this term that were all sent at this time or later; -inf: none.

        Then no other twin had been elected before (ReadIndex of Raft, section 6.4 of its dissertation).
        """
        if self.role != "active" or not self.serving:
            return float("-inf")
        sent = sorted(self.replicas[replica].confirmed_at for replica in self._member_replicas())
        return sent[-2] if len(sent) >= 2 else float("-inf")

    def read_mark(self, now: float) -> float:
        """The mark of a read that came in just now: it is confirmed once `confirmed` is no less."""
        return max(now, math.nextafter(self._sent_at, math.inf))

    def demand_round(self, now: float) -> bool:
        """Have all reads confirmed that came in until now; True: there is something to `take`.

        One round serves them all. While messages are under way, the next ones do.
        """
        self._wanted = self.read_mark(now)
        if self.role == "active":
            self._replicate(now)
        return bool(self._outputs)

    @property
    def renewal(self) -> float:
        """Seconds after which an active that has nothing to write renews its lease."""
        lengths = [progress.granted for progress in self.replicas if progress.granted is not None]
        return min([self.timing.renewal, *(Timing(length).renewal for length in lengths)])

    def _member_replicas(self) -> set[int]:
        """Slots whose upstream answers with the disk that the membership counts."""
        return {replica for replica in range(len(self.replicas)) if self.is_member(replica)}

    def is_member(self, replica: int) -> bool:
        """The upstream answers with the disk that the membership counts, and it has not gone back."""
        membership, progress = self.log.membership, self.replicas[replica]
        if membership is None or progress.state is None or progress.rolled_back or progress.foreign:
            return False
        return progress.state.replica_id == membership.replica_ids[replica]

    # -- foundings -----------------------------------------------------------------------------------------

    @property
    def founding(self) -> str:
        """Founding of the journal that this twin knows, by its memory or its anchor; empty: none."""
        return self.log.founding_at(self.commit) or self.anchors.founding

    def _stated(self) -> list[str]:
        return [progress.state.founding for progress in self.replicas if progress.state is not None]

    def is_foreign(self, state: ReplicaState) -> bool:
        """The upstream's journal is of another founding than this twin's.

        A twin that knows none goes by what two upstreams state.
        """
        return founding.differ(state.founding, self.founding or founding.prevailing(self._stated()) or "")

    def _undecided(self) -> bool:
        """This twin knows no founding, and two upstreams do not state one yet: it takes no entries."""
        return not self.founding and not founding.confirmed(self._stated())

    def _leave_out(self, replica: int, reply: Reply, now: float) -> bool:
        """Note whether the upstream's journal is of another founding; True: its answer counts for nothing."""
        progress = self.replicas[replica]
        progress.foreign = progress.state is not None and self.is_foreign(progress.state)
        if progress.foreign:
            progress.match_index, progress.granted_until, progress.confirmed_at = 0, None, float("-inf")
        foreign = {
            at: one.state for at, one in enumerate(self.replicas) if one.foreign and one.state is not None
        }
        self.anchors.foreign(self.anchor, foreign, now)
        if not self.is_foreign(reply.state):
            return False
        known = self.founding or founding.prevailing(self._stated()) or ""
        progress.alarm = founding.of_upstream(reply.state.founding, known) if len(foreign) == 1 else ""
        if isinstance(reply, Subscribed) and reply.owner == self.owner:
            progress.holder, progress.holder_epoch = reply.holder, reply.holder_epoch
        return True

    # -- time passes ---------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Let time pass. Call at least every `renewal / 4`."""
        if self.role == "active":
            if now >= self.deadline:
                self._step_down(now, "the lease ended: fewer than two upstreams answer")
                return
            self._renew_format(now)
            self._replicate(now)
            return
        self._follow(now)
        if now >= self._next_try:
            self._try_election(now)
        else:
            self._ask_again(now)

    def _follow(self, now: float) -> None:
        feeding = any(
            progress.subscribed and progress.with_entries and progress.reachable for progress in self.replicas
        )
        feeding = feeding or self._undecided()
        if not feeding and now - self._fed_at < FEED_PAUSE:
            return  # with the next tick
        idle = [replica for replica, progress in enumerate(self.replicas) if not progress.subscribed]
        # One that does not answer is asked again and again: it must not take the feed from one that does.
        idle.sort(key=lambda replica: not self.replicas[replica].reachable)
        for replica in idle:
            progress = self.replicas[replica]
            feeds = not feeding and self._is_source(replica) and replica not in self._unread
            progress.subscribed, progress.with_entries = True, feeds
            progress.subscribed_at = now
            self._outputs.append(Send(replica, self._follow_request(replica, entries=feeds), now))
            feeding = feeding or feeds

    def _follow_request(self, replica: int, *, entries: bool) -> Subscribe:
        progress = self.replicas[replica]
        return Subscribe(
            owner=self.owner,
            have_index=self.commit,
            have_epoch=self.log.epoch_at(self.commit) or 0,
            known_holder="?" if progress.holder is None else progress.holder,
            known_epoch=progress.holder_epoch,
            entries=entries,
            format=self.newest,
        )

    def _send(self, replica: int, request: Request, now: float) -> None:
        at = self._sent_at = self.read_mark(now)
        self.replicas[replica].busy = True
        self.replicas[replica].sent_at = at
        self.replicas[replica].ask_at = now + self.timing.again
        self._outputs.append(Send(replica, request, at))

    # -- election ------------------------------------------------------------------------------------------

    def _try_election(self, now: float) -> None:
        """Ask for a majority's readiness first: a probe changes nothing, a cut-off twin disturbs nobody."""
        self._next_try = now + self.timing.retry * (1 + self._jitter())
        if not self.eligible or self.outdated or self._other_terms():
            if self.role == "candidate":
                self._step_down(now, "this twin may not be elected any more, or another one was")
            return
        if self.role == "candidate" and self.anchors.objection is not None:
            # The lease that was granted for nothing is given back: the other twin may know better.
            self._step_down(now, OBJECTS, pause=self.timing.ttl * (1 + self._jitter()))
            return
        if self.role == "candidate":
            self._persist(now)
            return
        if self.role != "passive":
            self._become("passive", "no majority answered in time")
        terms = max(self._seen_epoch, self.epoch) // 2 + 1
        self.epoch = terms * 2 + self.rank
        self.role = "probing"
        self._probed, self._votes = {}, {}
        self._asked_again = False
        self.anchors.begin(self.log, self.commit)
        self._ask(now, probe=True)

    def _persist(self, now: float) -> None:
        """A candidate keeps its votes, and asks the others once more; or it gives back what it was granted.

        A lease that lives on two upstreams for nobody keeps everybody from being elected.
        """
        if not self._votes or now >= self._candidacy_ends:
            self._step_down(now, "no majority answered in time")
            return
        self._next_try = min(self._next_try, self._candidacy_ends)
        self._ask(now, probe=False, replicas=[replica for replica in range(3) if replica not in self._votes])

    def _ask_again(self, now: float) -> None:
        """Ask those again that failed, or whose lease for another twin has ended: no election begins anew."""
        if self.role not in ("probing", "candidate") or not self.eligible:
            return
        heard = self._probed if self.role == "probing" else self._votes
        waiting = [s for s, progress in enumerate(self.replicas) if s not in heard and not progress.busy]
        due = [replica for replica in waiting if now >= self.replicas[replica].ask_at]
        self._asked_again = self._asked_again or bool(due)
        self._ask(now, probe=self.role == "probing", replicas=due)

    def _other_terms(self) -> bool:
        """Two upstreams say, by a follow that still stands, that another twin's lease lives."""
        held = [p for p in self.replicas if p.subscribed and p.reachable and p.holder and not p.foreign]
        return len([p for p in held if p.holder != self.owner.name]) >= 2

    def _ask(self, now: float, *, probe: bool, replicas: Sequence[int] = (0, 1, 2)) -> None:
        request = Acquire(
            epoch=self.epoch,
            owner=self.owner,
            ttl_ms=round(self.timing.ttl * 1000),
            have_index=self.commit,
            have_epoch=self.log.epoch_at(self.commit) or 0,
            probe=probe,
            format=self.newest,
            founding=self.founding,
        )
        for replica in replicas:
            self._send(replica, request, now)

    def _become(self, role: Role, reason: str) -> None:
        self.role = role
        self._outputs.append(RoleChanged(role, self.epoch, reason))

    def _step_down(self, now: float, reason: str, pause: float | None = None) -> None:
        was = self.role
        if was == "active":
            self.certified.end_term()
            self.rollbacks.term_ended()
        if was == "candidate":
            self._release(now, self.epoch)
        self.serving = False
        for progress in self.replicas:
            progress.granted_until, progress.confirmed_at = None, float("-inf")
            progress.busy = False
            progress.refused_upto = None
        self._next_try = now + (self.timing.retry * (0.3 + self._jitter()) if pause is None else pause)
        self._votes, self._probed = {}, {}
        self.log.cut(self.commit)  # what is not known to be committed, the next term decides
        if was != "passive":
            self._become("passive", reason)

    @property
    def anchor(self) -> Anchor | None:
        """Anchor for this machine's disk, to be kept now and then: the highest position known committed."""
        return self.anchors.current(self.log, self.commit)

    def retire(self, now: float, reason: str) -> None:
        """Give the term back in good order: release the lease, let the other twin follow at once."""
        if self.role == "passive":
            return
        epoch, was = self.epoch, self.role
        self._step_down(now, reason, pause=self.timing.ttl)
        if was == "active":
            self._release(now, epoch)

    def _release(self, now: float, epoch: int) -> None:
        for replica in range(3):
            self._outputs.append(Send(replica, Release(epoch, self.owner), now))

    def last_will(self) -> Release:
        """Message that releases the lease on behalf of this twin, should it die."""
        return Release(self.epoch, self.owner)

    # -- answers -------------------------------------------------------------------------------------------

    def receive(self, now: float, replica: int, sent_at: float, request: Request, reply: Reply) -> None:
        """The upstream in `replica` answered `request`, which was sent at `sent_at`."""
        progress = self.replicas[replica]
        if not self.asked(request):
            return
        if isinstance(request, Subscribe):
            if sent_at < progress.subscribed_at or not progress.subscribed:
                return
            progress.subscribed = False
        elif sent_at >= progress.sent_at and not isinstance(request, Release):
            progress.busy, progress.ask_at = False, float("inf")
        self._note(replica, request, sent_at, reply.state, now)
        if self._leave_out(replica, reply, now):
            return
        self._seen_epoch = max(self._seen_epoch, reply.state.promised)
        if self._paused(reply.state, sent_at, now):
            return
        self._compare(replica, reply.state, sent_at, now)
        match reply:
            case Subscribed():
                self._followed(now, replica, reply)
                return
            case Released():
                return
            case RequestRefused():
                progress.alarm = reply.reason
                if reply.differs:
                    self._differs(now, replica, request)
                if isinstance(request, Append):
                    progress.refused_upto = request.previous_index + len(request.entries)
                elif isinstance(request, Install):
                    progress.refused_upto = request.snapshot.index
                    self.agreement.refused(replica)
                return
        if (
            isinstance(reply, Appended)
            and progress.refused_upto is not None
            and reply.match_index >= progress.refused_upto
        ):
            progress.refused_upto = None
        if progress.refused_upto is None:
            progress.alarm = ""
        if isinstance(reply, NotVoting):
            progress.new_store, progress.not_voting = reply.new_store, True
        else:
            progress.not_voting = False
        if not isinstance(
            reply, Probed | Promise | Busy | Fenced | NotVoting | Appended | Conflict
        ) or not self._current(reply.epoch, reply.owner):
            return
        match reply:
            case Fenced():
                self._fenced(now, reply)
            case Busy():
                progress.holder, progress.holder_epoch = reply.holder, reply.state.promised
                progress.ask_at = now + reply.wait_ms / 1000
            case Probed() if self.role == "probing":
                self._probed[replica] = reply.state
                self._count_probes(now)
            case Promise() if self.role == "candidate":
                self._votes[replica] = (sent_at, reply)
                self._count_votes(now)
            case NotVoting() if self.role == "active":
                self._join(now, replica, reply.state.replica_id)
            case NotVoting() if self.role == "probing":
                self._found_system(now)
            case Appended() if self.role == "active":
                self._appended(now, replica, sent_at, request, reply)
            case Conflict() if self.role == "active":
                if not progress.rolled_back:
                    self._granted(progress, sent_at, reply.granted_ms, now)
                    progress.confirmed_at = max(progress.confirmed_at, sent_at)
                progress.next = min(progress.next, reply.retry_index + 1)
                self._replicate(now)

    def failed(self, replica: int, sent_at: float, request: Request) -> None:
        """The upstream in `replica` did not answer `request`: unreachable, too slow, or not an upstream."""
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
        """This run of the twin did: what a former one is told may be long past, though it arrives now."""
        return request.owner == self.owner

    def _current(self, epoch: int, owner: ProposerId) -> bool:
        """The answer is to this term or candidacy, not to a former one."""
        return epoch == self.epoch and owner == self.owner

    def _note(self, replica: int, request: Request, sent_at: float, state: ReplicaState, now: float) -> None:
        """Take the header for what the upstream is now, unless a later one is known.

        A poll may have waited for long: an active twin, which hears other answers all the time, ignores it.
        """
        progress = self.replicas[replica]
        poll = isinstance(request, Subscribe)
        if self.role != "active" if poll else sent_at >= progress.noted_at:
            if progress.state is not None and progress.state.replica_id != state.replica_id:
                progress.match_index, progress.granted_until, progress.rolled_back = 0, None, False
                progress.confirmed_at = float("-inf")
            progress.state = state
            progress.reachable = progress.reachable or poll or sent_at > progress.failed_at
        if not poll:
            progress.noted_at = max(progress.noted_at, sent_at)
        self.steady.observe(replica, state.clock_ms / 1000, sent_at, now)
        steady_ms = self.steady.read(now) * 1000
        self.certified.observe(self.names[replica], state.wall_ms, steady_ms, state.clock_synchronised)

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
        self._step_down(now, f"this machine stood still for about {seconds:.1f} s, and its clocks with it")
        return True

    def _compare(self, replica: int, state: ReplicaState, sent_at: float, now: float) -> None:
        """Hold the answer against what its disk has confirmed before, and learn what it confirms now."""
        progress = self.replicas[replica]
        if self.rollbacks.rolled_back(state, sent_at):
            self._distrust(replica, now)
            return
        if sent_at >= progress.rolled_back_at:
            progress.rolled_back = False
        if not progress.rolled_back and state.term >= 0:
            self.rollbacks.learn(AckedPosition(state.replica_id, state.term, 0, state.commit), now)

    def _distrust(self, replica: int, now: float) -> None:
        """An older state was put back: its vote, its lease and what it stored before count for nothing."""
        progress = self.replicas[replica]
        progress.rolled_back, progress.rolled_back_at = True, now
        progress.match_index, progress.granted_until, progress.confirmed_at = 0, None, float("-inf")
        progress.next = min(progress.next, self.log.last + 1)

    def _fenced(self, now: float, reply: Fenced) -> None:
        if self.role == "active" and reply.state.promised > self.epoch:
            self._step_down(now, f"epoch {reply.state.promised} was promised")
        elif self.role == "active":
            self._step_down(now, "the lease was given back on this twin's behalf")
        elif self.role in ("probing", "candidate"):
            self._step_down(now, "a higher epoch is promised")

    # -- following -----------------------------------------------------------------------------------------

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
        if self._is_source(replica) and not self._undecided():
            self._mirror(now, replica, reply.snapshot, reply.entries)
        self._compare_mirrored(now, replica, reply)
        free = [one for one in self.replicas if one.holder == "" and not one.foreign]
        if freed and self.role == "passive" and len(free) >= 2:
            self._next_try = min(self._next_try, now)
            self._try_election(now)
        elif self.role == "passive":
            self._follow(now)

    def awaits(self, progress: Progress) -> bool:
        """The lease that this upstream told of is the other twin's: its end is to be used at once.

        Not one from before this twin's own term, in which it followed nobody: the term that it gave back is
        for the other one to take.
        """
        other = progress.holder not in ("", None, self.owner.name)
        return other and progress.holder_epoch > self._served_epoch

    @property
    def outdated(self) -> str:
        """Reason why this version cannot apply what is committed, for people; empty: it can.

        Two upstreams must say so: one that is wrong keeps no twin from an election.
        """
        needs = sorted(
            (progress.state.needs for progress in self.replicas if progress.state is not None), reverse=True
        )
        needed = needs[1] if len(needs) >= 2 else FIRST
        if needed > self.newest:
            return formats.too_new(needed, self.newest)
        return next(iter(self._unread.values())) if len(self._unread) >= 2 else ""

    def _mirror(
        self, now: float, replica: int, snapshot: Snapshot | None, entries: tuple[Entry, ...]
    ) -> None:
        """Take over committed entries, or remember that this version cannot."""
        if newer := self.newer(entries, snapshot):
            self._unread[replica] = newer
            return
        if snapshot is not None:
            if snapshot.index < self.commit:
                return
            self._restore(snapshot)
            self.anchors.mirrored(self.log, now)
        fresh = [entry for entry in entries if entry.index > self.log.last]
        if fresh and fresh[0].index == self.log.last + 1:
            self.log.extend(fresh)
            self.commit = self.log.last
            self._apply()
            self.anchors.mirrored(self.log, now)
            self._forget()

    def newer(self, entries: tuple[Entry, ...], snapshot: Snapshot | None) -> str:
        """Reason why this version cannot continue with these; empty: it can."""
        return formats.newer(entries, snapshot, self.newest, self._machine.unreadable)

    def _restore(self, snapshot: Snapshot) -> None:
        self.log = Log.after(snapshot)
        self.commit = self.applied = snapshot.index
        self._machine.restore(snapshot.state, snapshot.format)

    # -- becoming active -----------------------------------------------------------------------------------

    @staticmethod
    def rank_of(promise: Promise) -> tuple[int, int]:
        """By what the journal to adopt is chosen: epoch first, length second (never length alone)."""
        return promise.state.last_epoch, promise.state.last_index

    def _count_probes(self, now: float) -> None:
        """Ask in earnest once a majority is ready whose journals end no earlier than the anchor."""
        ready = {
            replica: one for replica, one in self._probed.items() if not self.replicas[replica].rolled_back
        }
        if len(self._probed) == 3:
            ready = self._probed  # as with promises: nobody else could have what is missing here
        if len(ready) < 2 or self.anchors.shorter(ready, now):
            return
        if not self.founding and founding.prevailing([one.founding for one in ready.values()]) is None:
            return  # two foundings: the third upstream decides
        self.role = "candidate"
        self._next_try = now + self.timing.retry * (2 + self._jitter())
        self._candidacy_ends = now + self.timing.retry * (5 + self._jitter())
        self._ask(now, probe=False)

    def _count_votes(self, now: float) -> None:
        told = [mark for _, promise in self._votes.values() for mark in promise.acked]
        for replica, (_, promise) in self._votes.items():
            if any(self.misses(mark, promise.state) for mark in told):
                self._distrust(replica, now)
        votes = {
            replica: vote for replica, vote in self._votes.items() if not self.replicas[replica].rolled_back
        }
        if len(self._votes) == 3:
            votes = self._votes  # all there is: nobody else could have what is missing here
        if len(votes) < 2:
            return
        stated = [promise.state.founding for _, promise in votes.values()]
        if not self.founding and founding.prevailing(stated) is None:
            return
        replicas = sorted(
            votes, key=lambda replica: (self.rank_of(votes[replica][1]), self._is_source(replica))
        )
        best = votes[replicas[-1]][1]
        if newer := self.newer(best.entries, best.snapshot):
            self._unread[replicas[-1]] = newer
            self._step_down(now, newer)
            return
        adopted = self._adopt(best)
        if adopted.last_epoch >= self.epoch:
            # Mirrored meanwhile: epochs never fall along a journal, what conflicts is judged by them.
            self._step_down(now, "a later term has committed entries")
            return
        shown = {replica: promise.state for replica, (_, promise) in votes.items()}
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
        if len(valid) < 2:
            if len(votes) == 3 and not any(stated):
                self.anchors.unfounded(self.anchor, shown, now)  # founded since, with other disks
            return
        if best.snapshot is not None and best.snapshot.index >= self.commit:
            self._restore(best.snapshot)
        self.log = adopted
        self.commit = max(self.commit, best.state.commit, self.log.base)
        for mark in told:
            self.rollbacks.learn(mark, now)
        for replica in valid:
            self.replicas[replica].state = votes[replica][1].state
            if self.replicas[replica].rolled_back:
                self.rollbacks.excuse(membership.replica_ids[replica])
        self._begin_term(now, valid)

    @staticmethod
    def misses(mark: AckedPosition, state: ReplicaState) -> bool:
        """The one who promised has less than its disk confirmed, as another upstream remembers."""
        return missed(mark, state)

    def _adopt(self, best: Promise) -> Log:
        """The journal of the best promise: the entries that this twin mirrors, and what follows there."""
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
            ),
            self.log.after_index(self.log.base, self.commit - self.log.base),
        )
        log.extend(entry for entry in best.entries if entry.index > log.last)
        return log

    def _begin_term(self, now: float, granted: dict[int, float]) -> None:
        self.role = "active"
        self.serving = False
        self._served_epoch = self.epoch
        for replica, progress in enumerate(self.replicas):
            progress.granted_until, progress.confirmed_at = None, float("-inf")
            if replica in granted:
                self._granted(progress, granted[replica], self._votes[replica][1].granted_ms, now)
            progress.reachable = (
                progress.reachable and replica in granted
            )  # who answered long ago may be gone since
            progress.rolled_back = progress.rolled_back and replica not in granted
            progress.match_index, progress.next = 0, self.log.last + 1
            progress.busy = False
        self.anchors.elected()
        self.agreement.begin_term()
        self._become("active", "two upstreams granted the lease")
        self._apply()
        self.certified.begin_term()
        first = (
            self.owner.incarnation.encode() if not self.log.last else b""
        )  # what makes this founding its own
        self._term_start = self._add("term", first, now)
        self._replicate(now)

    def _add(self, kind: Kind, body: bytes, now: float) -> int:
        index = self.log.last + 1
        time_ms = self.certified.read(self.steady.read(now) * 1000, self.log.last_time)
        self.log.extend([Entry(index, self.epoch, time_ms, kind, body, self.format)])
        return index

    @property
    def format(self) -> int:
        """The format that entries are written in now: the journal's."""
        return self.log.format

    def agreed_format(self) -> int:
        """Newest format that the three members and both twins have announced, as heard in this term."""
        members = [
            progress.state
            for replica, progress in enumerate(self.replicas)
            if progress.state is not None
            and progress.reachable
            and progress.granted_until is not None
            and self.is_member(replica)
        ]
        if len(members) < len(self.replicas):
            return FIRST
        return min(self.known_to_members(members), self.known_to_twins(members))

    @staticmethod
    def known_to_members(members: Sequence[ReplicaState]) -> int:
        """Newest format that all of these can apply."""
        return min(state.format for state in members)

    def known_to_twins(self, members: Sequence[ReplicaState]) -> int:
        """Newest format that both twins can apply, as all members have heard."""
        return formats.known_to_twins(members, self.owner.name, self.newest)

    def _renew_format(self, now: float) -> None:
        """Go over to the newest format that everybody can apply."""
        if self.format == self.newest or not self.holds(now):
            return
        if self.format == self.log.format_at(self.commit) and (agreed := self.agreed_format()) > self.format:
            self._add("format", encode_format(agreed), now)

    # -- replication ---------------------------------------------------------------------------------------

    def idle(self, now: float, answered: int | None = None) -> bool:
        """Tells whether a command leaves at once: an upstream whose answer counts has nothing to do.

        `answered`: one that has answered, and whose answer is about to be received: what is submitted after
        that may be late, for the next message to it may have left.
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

    def _replicate(self, now: float) -> None:
        lagging, renewal = self._lagging_replica(now), self.renewal
        wanted = self._wanted if self.confirmed < self._wanted else float("-inf")
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
        """The upstream whose answers no commitment waits for, the slowest of three that all keep up.

        None: every answer is needed, or may be, because one of the others is late.
        """
        if len(self._member_replicas()) < 3 or not all(
            p.reachable and not p.not_voting for p in self.replicas
        ):
            return None
        slowest = max(range(3), key=lambda replica: self.replicas[replica].delay)
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
            # A snapshot is large, and would be made anew for each try: first see whether anybody is there.
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
            founding=self.founding,
        )

    def _unconfirmed(self, replica: int) -> bool:
        """The upstream needs a snapshot, and this twin's ledger is not confirmed enough to be sent."""
        return self.replicas[replica].next <= self.log.base and not self._may_install(replica)

    def _disks(self) -> tuple[str, ...]:
        membership = self.log.membership
        return membership.replica_ids if membership is not None else ()

    def _installation(self) -> Install:
        at = self.applied
        snapshot = Snapshot(
            at,
            self.log.epoch_at(at) or 0,
            self.log.time_at(at),
            self.log.membership_at(at),
            self._machine.snapshot(self.log.format_at(at)),
            self.log.format_at(at),
            self.log.founding_at(at),
        )
        return Install(self.epoch, self.owner, round(self.timing.ttl * 1000), snapshot)

    def _appended(self, now: float, replica: int, sent_at: float, request: Request, reply: Appended) -> None:
        membership = self.log.membership
        if membership is None or reply.state.replica_id != membership.replica_ids[replica]:
            # Founded with other disks while one was being lost: it votes, and counts for nothing here.
            self._join(now, replica, reply.state.replica_id)
            return
        progress = self.replicas[replica]
        self._agrees(replica, sent_at, request, reply)
        if progress.rolled_back:
            progress.next = min(reply.match_index, self.log.last) + 1
            self._replicate(now)
            return
        self._granted(progress, sent_at, reply.granted_ms, now)
        progress.confirmed_at = max(progress.confirmed_at, sent_at)
        progress.delay += (now - sent_at - progress.delay) / 16
        progress.match_index = max(progress.match_index, min(reply.match_index, self.log.last))
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
        progress.next = max(progress.match_index + 1, min(progress.next, self.log.last + 1))
        before = self.commit
        if self._advance():
            self._apply()
            self._forget()
        if before < self._term_start <= self.commit and not self.serving:
            self._wanted = self.read_mark(now)  # who knew of more commits than this twin compares now
        self._serve()
        self._replicate(now)

    def _serve(self) -> None:
        """Serve, once the term is committed and two upstreams have this twin's ledger."""
        if not self.serving and self.commit >= self._term_start and self.agreed():
            self.serving, self._sources = True, frozenset()
            self._outputs.append(Serving(self.epoch))

    def agreed(self) -> bool:
        """Two upstreams have this twin's ledger."""
        return self.agreement.compared

    def _advance(self) -> bool:
        members = self._member_replicas()
        stored = sorted((p.match_index for s, p in enumerate(self.replicas) if s in members), reverse=True)
        if len(stored) < 2 or stored[1] <= self.commit or not self.counts(stored[1]):
            return False
        term_committed = self.commit < self._term_start <= stored[1]
        self.commit = stored[1]
        if term_committed:
            self.rollbacks.term_committed()
            self._serve()
        return True

    def counts(self, index: int) -> bool:
        """Only entries of the own epoch are counted for commitment; older ones follow them (Raft 5.4.2)."""
        return self.log.epoch_at(index) == self.epoch

    def _apply(self) -> None:
        while self.applied < self.commit:
            entry = self.log[self.applied + 1]
            outcome = None
            if entry.kind == "command":
                outcome = self._machine.apply(entry.index, entry.time_ms, entry.body, entry.format)
            self.applied = entry.index
            self._outputs.append(Applied(entry.index, entry, outcome))

    def _forget(self) -> None:
        if self.applied - self.log.base > 2 * LOG_RETAIN_ENTRIES or self.log.size > 2 * LOG_RETAIN_BYTES:
            self.log.compact(self.log.tail(self.applied, LOG_RETAIN_ENTRIES, LOG_RETAIN_BYTES))

    # -- the ledger of the others --------------------------------------------------------------------------

    def _agrees(self, replica: int, sent_at: float, request: Request, reply: Appended) -> None:
        """Note that the upstream has this twin's ledger, if it was in a position to compare them."""
        if isinstance(request, Install):
            self.agreement.installed(replica)
            return
        compared = isinstance(request, Append) and reply.state.commit == request.digest_index
        if compared and self.is_member(replica):
            self.agreement.agrees(replica, sent_at)

    def _differs(self, now: float, replica: int, request: Request) -> None:
        """An upstream has another ledger. If a second one has, it is this twin's that is wrong."""
        this_term = isinstance(request, Append) and request.epoch == self.epoch
        if self.role != "active" or not this_term or not self.is_member(replica):
            return
        self.agreement.differs(replica, now)
        if self.agreement.outvoted:
            serving, epoch = self.serving, self.epoch
            self._step_down(now, "two upstreams have another ledger: mirroring it anew", self.timing.ttl)
            if not serving:
                self._release(now, epoch)  # it had no address yet, and the other twin may have the right one
            self._drop_ledger()

    def _compare_mirrored(self, now: float, replica: int, reply: Subscribed) -> None:
        """Compare a passive twin's ledger with an upstream's, where they are at the same entry."""
        comparable = self.applied == reply.state.commit and reply.digest and self.is_member(replica)
        if self.role != "passive" or not comparable:
            return
        if reply.digest == self._machine.digest():
            self.agreement.agrees(replica, now)
            if self.agreement.compared:
                self._sources = frozenset()
            return
        self.agreement.differs(replica, now)
        if self.agreement.outvoted:
            self._drop_ledger()
            self.agreement.begin_term()

    def _drop_ledger(self) -> None:
        """Forget journal and ledger, as after a start, but not what is known to be committed."""
        self.dropped += 1
        self._sources = self.agreement.differing
        self.anchors.kept = self.anchor
        self.log, self.commit, self.applied = Log(), 0, 0
        self._machine.restore(b"", FIRST)
        for progress in self.replicas:
            progress.subscribed = False  # polls that are under way ask for what followed the former one

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

    def _is_source(self, replica: int) -> bool:
        """The upstream may be mirrored: not one that has the ledger which was dropped."""
        return not self._sources or replica in self._sources

    # -- members that join ---------------------------------------------------------------------------------

    def _found_system(self, now: float) -> None:
        """Three new stores, and no twin was ever elected: this is a new system."""
        heard = [
            progress
            for progress in self.replicas
            if progress.reachable and progress.noted_at >= progress.sent_at
        ]
        members = [
            progress.state for progress in heard if progress.state is not None
        ]  # in answer to this probe
        new = [progress for progress in self.replicas if progress.not_voting and progress.new_store]
        if len(members) < 3 or not new or any(m.promised or m.last_index for m in members):
            return
        if self._asked_again:
            return  # with the next probe, which is one and the same for all
        if any(progress.not_voting and not progress.new_store for progress in self.replicas):
            return
        if not self.may_found(members, now):
            return
        replica_ids = (members[0].replica_id, members[1].replica_id, members[2].replica_id)
        for replica in range(3):
            self._send(replica, Bootstrap(self.owner, Membership(replica_ids)), now)
        self._step_down(now, "founding the system")

    def may_found(self, members: Sequence[ReplicaState], now: float) -> bool:
        """This twin knows no system that these new stores would take the place of."""
        return not self.anchors.unfounded(self.anchor, dict(enumerate(members)), now)

    def _join(self, now: float, replica: int, replica_id: str) -> None:
        """An upstream that does not count: readmit its disk by the journal, then send it everything."""
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
        elif not self._membership_pending():
            progress.match_index, progress.granted_until = 0, None
            self._add("members", encode_membership(membership.replacing(replica, replica_id)), now)
            self._replicate(now)

    def _membership_pending(self) -> bool:
        return self.log.membership != self.log.membership_at(self.commit)
