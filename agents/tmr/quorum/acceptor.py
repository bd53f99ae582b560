# SPDX-License-Identifier: Apache-2.0
"""Acceptor: the replica's side of the protocol. No I/O, no clock.

`handle` answers one message and lists what must be on disk before the answer may leave. The class is built in
layers: this module reads the messages, `lease_grants` promises and grants, `stored_journal` keeps entries and
ledger. `validation` has the messages that no honest proposer sends.
"""

from tmr.quorum import formats, founding, validation
from tmr.quorum.durable import (
    GIVEN_UP,
    Answer,
    CommitWrite,
    CutWrite,
    Durable,
    ReleaseWrite,
    SnapshotWrite,
    VotingWrite,
    Write,
)
from tmr.quorum.entries import FORMAT, Entry, Membership, Snapshot, StateMachine, WriteValidator
from tmr.quorum.invariants import require
from tmr.quorum.lease_grants import LeaseGrants
from tmr.quorum.log import Log
from tmr.quorum.message_order import LATE, MessageOrder
from tmr.quorum.messages import (
    Acquire,
    Append,
    Appended,
    Bootstrap,
    Bootstrapped,
    Busy,
    CertificateReport,
    Conflict,
    Fenced,
    Install,
    NotVoting,
    PreVote,
    Promise,
    Release,
    Released,
    ReplicaState,
    Report,
    Request,
    RequestRefused,
    Subscribe,
    Subscribed,
)
from tmr.quorum.reports import Reports


class Acceptor(LeaseGrants):
    """Replica. `now`: seconds on its monotonic clock; `wall_ms`: its wall clock, Unix milliseconds."""

    def __init__(
        self,
        durable: Durable,
        machine: StateMachine,
        now: float,
        max_ttl: float,
        generation: int = 0,
        validator: WriteValidator | None = None,
        container: str = "",
        newest: int = FORMAT,
    ) -> None:
        super().__init__(durable, machine, now, max_ttl, newest)
        self.voting = durable.voting
        self.generation = generation
        self.container = container
        self.short = False
        """The runtime says that it is short of disk space."""
        self.clock_synchronised: bool | None = None
        """The runtime says whether a time source keeps the wall clock; None: it does not know."""
        self.clock_sync = False
        """The runtime says that a time source should keep it."""
        self.certificate = CertificateReport()
        """The runtime's report of its certificate."""
        self.refused = ""
        """Reason why the last message was refused that no honest twin sends."""
        self.outdated = ""
        """Reason why the last message was refused that a newer version of this program would have taken."""
        self.foreign = ""
        """Reason why a twin was refused that knows another founding."""
        self.announced = formats.Announcements()
        self.damage = durable.damage
        self.diverged = bool(durable.damage)
        """It lost its journal once, and has no vote before it has a snapshot of the active twin."""
        self.installed = 0
        """Times that the ledger was replaced by the active twin's because it differed."""
        self._validator = validator
        self._reports = Reports()
        self._order = MessageOrder()
        self._now = now
        """Its monotonic clock at the message that is being handled."""

    def check_invariants(self) -> None:
        super().check_invariants()
        require(not self.voting or self.log.membership is not None, "a replica without a system has no vote")

    def state(self, wall_ms: int) -> ReplicaState:
        """The header of every answer."""
        return ReplicaState(
            replica_id=self.replica_id,
            voting=self.voting,
            promised=self.promised,
            last_index=self.log.last,
            last_epoch=self.log.last_epoch,
            commit=self.commit,
            wall_ms=wall_ms,
            generation=self.generation,
            format=self.newest,
            short=self.short,
            term=self.term,
            container=self.container,
            clock_ms=round(self._now * 1000),
            needs=self.log.format_at(self.commit),
            twins=self.announced.heard,
            damaged=self.damage not in ("", GIVEN_UP),
            clock_synchronised=self.clock_synchronised,
            clock_alarm=self.clock_alarm,
            founding=self.log.founding_at(self.commit),
            certificate=self.certificate,
        )

    @property
    def clock_alarm(self) -> bool:
        """A time source should keep the wall clock, and none is known to do so."""
        return self.clock_sync and not self.clock_synchronised

    # -- messages ------------------------------------------------------------------------------------------

    def handle(self, now: float, wall_ms: int, message: Request) -> Answer:
        """Answer one message; see `subscribe` for `Subscribe`, which may have to wait."""
        self._now = now
        if isinstance(message, Acquire | Append | Install) and (why := self._foreign(message)):
            self.foreign = why
            return Answer(RequestRefused(self.state(wall_ms), why))
        if isinstance(message, Acquire | Append | Install) and self.is_late(message):
            return Answer(RequestRefused(self.state(wall_ms), LATE, late=True))
        match message:
            case Acquire():
                return self._acquire(now, wall_ms, message)
            case Append():
                return self._append(now, wall_ms, message)
            case Install():
                return self._install(now, wall_ms, message)
            case Release():
                return self._release(wall_ms, message)
            case Bootstrap():
                return self._bootstrap(wall_ms, message)
            case Report():
                return self._report(now, wall_ms, message)
            case Subscribe():
                reply = self.subscribe(now, wall_ms, message)
                return Answer(reply or self._followed(now, wall_ms, message, (None, ())))

    def is_late(self, message: Acquire | Append | Install) -> bool:
        """A later message of the same run came before: this message changes nothing, and renews no lease."""
        return self._order.is_late(message)

    def _foreign(self, message: Acquire | Append | Install) -> str:
        """Reason to refuse a twin that knows another founding; empty: it does not.

        A term that is over may have begun a founding that was never committed: its messages are fenced.
        """
        theirs = message.snapshot.founding if isinstance(message, Install) else message.founding
        own = self.log.founding_at(self.commit)
        begun = isinstance(message, Append) and not message.commit and self.fences(message)
        return founding.of_twin(theirs, own) if founding.differ(theirs, own) and not begun else ""

    def _not_voting(self, wall_ms: int, message: Acquire | Append | Install) -> Answer:
        fresh = self.log.membership is None and not self.diverged
        return Answer(NotVoting(self.state(wall_ms), message.epoch, message.owner, fresh))

    def _fenced(self, wall_ms: int, message: Acquire | Append | Install) -> Answer:
        return Answer(Fenced(self.state(wall_ms), message.epoch, message.owner))

    def _refuse(self, wall_ms: int, why: str) -> Answer:
        self.refused = why
        return Answer(RequestRefused(self.state(wall_ms), why))

    def _refuse_twin(self, wall_ms: int, message: Acquire) -> Answer:
        """The twin could not apply this journal."""
        return Answer(RequestRefused(self.state(wall_ms), formats.too_new(self.log.format, message.format)))

    def _refuse_newer(self, wall_ms: int, why: str) -> Answer:
        """This replica could not apply it: an older version was left here."""
        self.outdated = why
        return Answer(RequestRefused(self.state(wall_ms), why))

    def _acquire(self, now: float, wall_ms: int, message: Acquire) -> Answer:
        self.announced.note(message.owner.name, message.format)
        if not self.voting:
            return self._not_voting(wall_ms, message)
        if message.format < self.log.format:
            return self._refuse_twin(wall_ms, message)
        if message.epoch <= self.promised and not self.promised_to(message):
            return self._fenced(wall_ms, message)
        if self.blocked(now, message.owner):
            holder = self.holder.name if self.holder else ""
            wait = max(1, round((self.holder_until - now) * 1000))
            return Answer(Busy(self.state(wall_ms), message.epoch, message.owner, holder, wait))
        if message.pre_vote:
            return Answer(PreVote(self.state(wall_ms), message.epoch, message.owner))
        if why := validation.to_epoch(message.epoch, wall_ms):
            return self._refuse(wall_ms, why)
        write = self._grant(now, message)
        have = 0 if self._forked(message.have_index, message.have_sum) else message.have_index
        snapshot, entries = self._news(have, message.have_epoch, self.log.last)
        reply = Promise(
            self.state(wall_ms),
            message.epoch,
            message.owner,
            snapshot,
            entries,
            self.acked,
            self._granted_ms(message),
        )
        return Answer(reply, write, woke=True)

    def _append(self, now: float, wall_ms: int, message: Append) -> Answer:
        if not self.voting:
            return self._not_voting(wall_ms, message)
        if self.fences(message):
            return self._fenced(wall_ms, message)
        previous, entries = message.previous_index, message.entries
        if newer := self.newer(entries, None):
            return self._refuse_newer(wall_ms, newer)
        # What the snapshot covers cannot be compared any more: the sender is to go on behind it.
        conflicts = self.log.epoch_at(previous) != message.previous_epoch
        why = validation.to_epoch(message.epoch, wall_ms)
        if not why and not conflicts and self._forked(previous, message.previous_sum):
            conflicts, why = True, validation.to_fork(previous, message.previous_epoch, message.epoch)
        if not why and not conflicts:
            why = validation.to_entries(
                self.log, self.replica_id, self.commit, previous, message.epoch, entries, self._validator
            )
        if why:
            return self._refuse(wall_ms, why)
        changed_hands = self.live_holder(now) != message.owner
        writes = self._grant(now, message)
        writes += self._remember(message.acked)
        if conflicts:
            retry_index = max(self.log.base, min(self.log.last, previous - 1))
            granted = self._granted_ms(message)
            conflict = Conflict(self.state(wall_ms), message.epoch, message.owner, retry_index, granted)
            return Answer(conflict, writes, woke=changed_hands)
        match = previous + len(entries)
        stored = self._store(entries)
        cut = any(isinstance(write, CutWrite) for write in stored)
        writes += stored + self._taken_of(message.epoch, match, cut=cut)
        before = self.commit
        self.commit = max(self.commit, min(message.commit, match))
        if self.commit > before:
            writes.append(CommitWrite(self.commit))
            writes += self._apply()
        writes += self._compare(message)
        if self.differs and self._comparable(message):
            return self._differing(wall_ms, writes)
        if not message.digest or message.digest_index == self._applied:
            # Only a ledger that was compared becomes a snapshot: others are sent it, and believe it.
            writes += self._compact()
        reply = self._equal(wall_ms, message, match)
        return Answer(reply, writes, woke=changed_hands or self.commit > before)

    def _equal(self, wall_ms: int, message: Append | Install, match_index: int) -> Appended:
        """The journal equals the sender's up to `match_index`."""
        granted = self._granted_ms(message)
        return Appended(self.state(wall_ms), message.epoch, message.owner, match_index, granted)

    def _differing(self, wall_ms: int, writes: list[Write]) -> Answer:
        """Confirm nothing to a twin with another ledger. The vote stays: a single machine takes none away."""
        why = "its ledger is not the active twin's, also after it was made anew from its own journal"
        return Answer(RequestRefused(self.state(wall_ms), why, differs=True), writes)

    def _install(self, now: float, wall_ms: int, message: Install) -> Answer:
        if self.fences(message):
            return self._fenced(wall_ms, message)
        snapshot = message.snapshot
        if newer := self.newer((), snapshot):
            return self._refuse_newer(wall_ms, newer)
        if snapshot.membership is None or self.replica_id not in snapshot.membership.replica_ids:
            return self._not_voting(wall_ms, message)
        why, restored = self._objection(message, wall_ms), list[Write]()
        if why and self._rebuilt_in != message.epoch:
            # It is held against the own ledger, which memory may have changed: again, with that made anew.
            self._rebuilt_in = message.epoch
            restored += self._rebuild()
            why = self._objection(message, wall_ms)
        if why:
            answer = self._refuse(wall_ms, why)
            answer.writes = restored
            return answer
        writes = restored + self._grant(now, message)
        if snapshot.index >= self.commit:
            # Entries behind the snapshot may have been acknowledged: never forget those.
            same = not self._forked(snapshot.index, snapshot.checksum)
            keep = same and self.log.epoch_at(snapshot.index) == snapshot.epoch
            tail = tuple(self.log.after_index(snapshot.index)) if keep else ()
            self.log = Log.after(snapshot, tail)
            self.snapshot, self.commit, self._applied = snapshot, snapshot.index, snapshot.index
            self._applied_bytes = 0
            self._machine.restore(snapshot.state, snapshot.format)
            self.differs, self.installed, self._rebuilt_in = False, self.installed + self.differs, -1
            writes += [SnapshotWrite(snapshot, keep_tail=keep), CommitWrite(snapshot.index)]
            if not self.voting:
                self.voting, self.diverged = True, False
                writes.append(VotingWrite(voting=True))
        if not self.voting:
            return Answer(self._not_voting(wall_ms, message).reply, writes)
        match = max(snapshot.index, self.log.base)
        writes += self._taken_of(message.epoch, snapshot.index)
        return Answer(self._equal(wall_ms, message, match), writes, woke=True)

    def _objection(self, message: Install, wall_ms: int) -> str:
        """Reason to refuse the snapshot; empty: none."""
        snapshot, fresh = message.snapshot, self.log.membership is None
        why = validation.to_epoch(message.epoch, wall_ms)
        if why or snapshot.index < self.commit:
            return why
        return validation.to_snapshot(
            self.log, self.commit, self.replica_id, message.epoch, snapshot, self._validator, fresh
        )

    def _release(self, wall_ms: int, message: Release) -> Answer:
        mine = message.epoch == self.promised and message.owner == self.holder
        writes: list[Write] = []
        promise = (message.epoch, message.owner)
        if self._order.may_be_two(message):
            return Answer(Released(self.state(wall_ms)))  # the lease ends by itself
        if promise == (self.promised, self.owner) != self._given_back:
            # An append still under way must not bring the lease back to life; nor must a restart.
            self._given_back = promise
            writes.append(ReleaseWrite(message.epoch))
        if mine:
            self.holder = None
            self.holder_until = float("-inf")
        return Answer(Released(self.state(wall_ms)), writes, woke=mine)

    def _bootstrap(self, wall_ms: int, message: Bootstrap) -> Answer:
        known: Membership | None = self.log.membership_at(self.log.base) if self.log.base == 0 else None
        if known == message.membership:
            return Answer(Bootstrapped(self.state(wall_ms)))
        stranger = self.replica_id not in message.membership.replica_ids
        if self.log.membership is not None or self.promised or self.damage or stranger:
            return Answer(
                RequestRefused(
                    self.state(wall_ms), "this upstream already belongs to a system, or has another disk"
                )
            )
        self.snapshot = Snapshot(0, 0, 0, message.membership, b"")
        self.log = Log.after(self.snapshot)
        self.voting = True
        writes: list[Write] = [SnapshotWrite(self.snapshot, keep_tail=False), VotingWrite(voting=True)]
        return Answer(Bootstrapped(self.state(wall_ms)), writes, woke=True)

    def _report(self, now: float, wall_ms: int, message: Report) -> Answer:
        """Store this twin's report, and answer with the other twin's last report."""
        self._reports.note(message, now)
        return Answer(self._reports.reply(message.owner, self.state(wall_ms), now))

    # -- following -----------------------------------------------------------------------------------------

    def subscribe(self, now: float, wall_ms: int, message: Subscribe) -> Subscribed | None:
        """The answer to a passive twin; None while it knows everything: ask again after a change."""
        self._now = now
        self.announced.note(message.owner.name, message.format)
        holder = self.live_holder(now)
        seen = (holder.name if holder else "", self.promised)
        snapshot, entries = None, tuple[Entry, ...]()
        if message.entries and self.commit > message.have_index and not self._cannot_apply(message):
            snapshot, entries = self._committed_news(message.have_index, message.have_epoch)
        if not entries and snapshot is None and seen == (message.known_holder, message.known_epoch):
            return None
        return self._followed(now, wall_ms, message, (snapshot, entries))

    def _cannot_apply(self, message: Subscribe) -> bool:
        """The twin is told which format is needed (`ReplicaState.needs`), and sent nothing newer."""
        return message.format < self.log.format_at(self.commit)

    def _followed(
        self,
        now: float,
        wall_ms: int,
        message: Subscribe,
        news: tuple[Snapshot | None, tuple[Entry, ...]],
    ) -> Subscribed:
        holder = self.live_holder(now)
        remaining = max(0, round((self.holder_until - now) * 1000)) if holder else 0
        return Subscribed(
            state=self.state(wall_ms),
            owner=message.owner,
            holder=holder.name if holder else "",
            holder_epoch=self.promised,
            remaining_ms=remaining,
            snapshot=news[0],
            entries=news[1],
            digest=self._machine.digest() if self._applied else b"",
            have_sum=self._committed_sum(message.have_index),
        )
