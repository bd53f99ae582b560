"""The upstream's side of the protocol: what it stores, whom it grants the lease. No I/O, no clock.

`handle` answers one message and lists what must be on disk before the answer may leave.
"""

from typing import Any, Final

import msgspec

from tmr.quorum import formats, founding, validation
from tmr.quorum.entries import (
    FORMAT,
    AckedPosition,
    Entry,
    Membership,
    ProposerId,
    Snapshot,
    StateMachine,
    WriteValidator,
)
from tmr.quorum.log import Log
from tmr.quorum.messages import (
    Acquire,
    Append,
    Appended,
    Bootstrap,
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
    Report,
    Reported,
    Request,
    RequestRefused,
    Subscribe,
    Subscribed,
)
from tmr.quorum.reports import Reports
from tmr.quorum.rollback import merged

SNAPSHOT_EVERY: Final = 5_000
"""Applied entries after which the journal is compacted to a snapshot, at least."""
SNAPSHOT_SELDOM: Final = 10
"""So many times as many at most, where a snapshot is so large that it costs more than its entries did."""
SNAPSHOT_COST: Final = 500
"""Bytes of a snapshot for each entry that it waits for: it is about as large as the entries then. Entries of
many commands are larger: of those it waits for as many bytes."""
SNAPSHOT_STAGGER: Final = (1.0, 1.13, 1.29)
"""By what the three upstreams' numbers differ: while one writes a snapshot, two must be left to answer."""
FOLLOW_LIMIT: Final = 2_000
"""Entries in one answer to `follow`."""
FOLLOW_BYTES: Final = 2 * 2**20
"""Bytes of their bodies, unless one alone has more."""
TAIL: Final = 2_000
"""Entries, of FOLLOW_BYTES at most, that a snapshot covers and that stay in memory: a twin that follows is a
little late, and would be sent the whole snapshot otherwise."""


GIVEN_UP: Final = "an operator gave up its journal"
"""Damage of a store that an operator renewed (`tmr-upstream renew`): no fault of its disk."""


class Durable(msgspec.Struct):
    """Everything an upstream must find again after a power cut."""

    replica_id: str
    voting: bool = False
    promised: int = 0
    owner: ProposerId | None = None
    snapshot: Snapshot = Snapshot(0, 0, 0, None, b"")
    entries: list[Entry] = []
    commit: int = 0
    term: int = 0
    acked: tuple[AckedPosition, ...] = ()
    granted_ms: int = 0
    """Length of the longest lease of the promise's owner that may live."""
    released: bool = False
    """The lease of the promise was given back: nobody acts on it any more."""
    damage: str = ""
    """Damage of the former store: this one began empty, and may not found a system."""

    @property
    def membership(self) -> Membership | None:
        """The membership in force; None: the upstream is new."""
        return Log.after(self.snapshot, self.entries).membership


class PromiseWrite(msgspec.Struct, frozen=True):
    """Remember the promised epoch and its owner, and how long a lease of it may live."""

    epoch: int
    owner: ProposerId
    granted_ms: int = 0


class ReleaseWrite(msgspec.Struct, frozen=True):
    """Remember that the lease of the promised epoch was given back, until the next `PromiseWrite`."""

    epoch: int


class CutWrite(msgspec.Struct, frozen=True):
    """Delete the entries that follow `after`."""

    after: int


class AppendWrite(msgspec.Struct, frozen=True):
    """Add entries at the end."""

    entries: tuple[Entry, ...]


class CommitWrite(msgspec.Struct, frozen=True):
    """Note the commit index. A hint: losing it loses nothing."""

    commit: int


class RecordWrite(msgspec.Struct, frozen=True):
    """Keep the lines that applied commands added to the record. Not urgent: the journal gives them again.

    It goes with or before the `SnapshotWrite` that deletes their entries.
    """

    lines: tuple[Any, ...]


class SnapshotWrite(msgspec.Struct, frozen=True):
    """Replace the snapshot, and delete the entries up to it (`keep_tail`) or all of them."""

    snapshot: Snapshot
    keep_tail: bool


class VotingWrite(msgspec.Struct, frozen=True):
    """Note whether this member votes."""

    voting: bool


class TermWrite(msgspec.Struct, frozen=True):
    """Remember the last term that the journal was taken of."""

    epoch: int


class AckedPositionsWrite(msgspec.Struct, frozen=True):
    """Remember what the three disks have confirmed, in place of what was known. A hint, too."""

    acked: tuple[AckedPosition, ...]


Hint = CommitWrite | RecordWrite | AckedPositionsWrite
"""Messages that may follow with the next batch."""
Write = PromiseWrite | ReleaseWrite | CutWrite | AppendWrite | SnapshotWrite | VotingWrite | TermWrite | Hint


class Answer(msgspec.Struct):
    """`reply` may leave once `writes` are durable, in order and all or none; `woke`: followers have news."""

    reply: Reply
    writes: list[Write] = []
    woke: bool = False


class Acceptor:
    """One upstream. `now` is seconds on its monotonic clock, `wall_ms` its wall clock, Unix milliseconds."""

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
        formats.check(durable.entries, durable.snapshot, newest, machine.unreadable)
        self.replica_id = durable.replica_id
        self.voting = durable.voting
        self.promised = durable.promised
        self.owner = durable.owner
        self.log = Log.after(durable.snapshot, durable.entries)
        self.commit = max(durable.snapshot.index, min(durable.commit, self.log.last))
        self.snapshot = durable.snapshot
        self.generation = generation
        self.container = container
        self.short = False
        """The rim says that it is short of disk space."""
        self.clock_synchronised: bool | None = None
        """The rim says whether a time source keeps the wall clock; None: it does not know."""
        self.clock_sync = False
        """The rim says that one is to keep it."""
        self.refused = ""
        """Reason why the last message was refused that no honest twin sends."""
        self.outdated = ""
        """Reason why the last message was refused that a newer version of this program would have taken."""
        self.foreign = ""
        """Reason why a twin was refused that knows another founding."""
        self.newest = newest
        """Newest format that it can apply."""
        self.announced = formats.Announcements()
        self._validator = validator
        self.term = durable.term
        self.acked = durable.acked
        self.damage = durable.damage
        self.diverged = bool(durable.damage)
        self.rebuilt = 0
        """Times that the state machine was made anew, because it differed from the active twin's."""
        self.differs = False
        """The ledger was another than the active twin's when they were compared last."""
        self.installed = 0
        """Times that the ledger was replaced by the active twin's because it differed."""
        self._rebuilt_in = -1
        """Epoch in which the state machine was made anew, and differs still; -1: it does not."""
        self.rolled_back = False
        """This disk has less than it confirmed before: since this start, the active has said so."""
        self._reports = Reports()
        self._given_back: tuple[int, ProposerId] | None = None
        """The promise whose lease was given back. Durable: its owner never acts on it again."""
        self._machine = machine
        self._max_ttl = max_ttl
        self._now = now
        """Its monotonic clock at the message that is being handled."""
        self._applied = durable.snapshot.index
        self._applied_bytes = 0
        """Bytes in the bodies of the entries applied since the snapshot."""
        machine.restore(durable.snapshot.state, durable.snapshot.format)
        self.regenerated: list[Write] = list(self._apply())
        """To be written with the first batch: lines of the record that may have been lost with it."""
        # It may have granted a lease that it forgot: the owner of the last promise keeps it for as long as
        # was granted then, whatever the setting is now, unless that was given back.
        self.holder = None if durable.released else durable.owner
        if durable.released and durable.owner is not None:
            self._given_back = durable.promised, durable.owner
        self.granted_ms = durable.granted_ms
        self.holder_until = now + self.granted_ms / 1000 if self.holder else float("-inf")

    @property
    def applied(self) -> int:
        """Index of the last entry applied to the state machine."""
        return self._applied

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
        )

    @property
    def clock_alarm(self) -> bool:
        """A time source is to keep the wall clock, and none is known to do so."""
        return self.clock_sync and not self.clock_synchronised

    @property
    def released(self) -> bool:
        """The lease of its promise was given back."""
        return self._given_back == (self.promised, self.owner)

    # -- the lease -----------------------------------------------------------------------------------------

    def live_holder(self, now: float) -> ProposerId | None:
        """Holder whose lease lives at `now`."""
        return self.holder if self.holder is not None and now < self.holder_until else None

    def blocked(self, now: float, asker: ProposerId) -> bool:
        """Another lease lives. That of a former run of the same twin counts: it may be no former one, but the
        original of a machine that was copied.
        """
        holder = self.live_holder(now)
        return holder is not None and holder != asker

    def _granted_ms(self, message: Acquire | Append | Install) -> int:
        """Length of the lease that the message gets."""
        return min(message.ttl_ms, round(self._max_ttl * 1000))

    def _grant(self, now: float, message: Acquire | Append | Install) -> list[Write]:
        """Promise the epoch, and grant or renew the lease. A lease is never shortened for its owner.

        The length is durable, too: the setting may be another after a restart.
        """
        granted_ms, epoch, owner = self._granted_ms(message), message.epoch, message.owner
        until = now + granted_ms / 1000
        if self.holder == owner and until < self.holder_until:
            until, granted_ms = self.holder_until, self.granted_ms
        self.holder, self.holder_until = owner, until
        if (epoch, owner, granted_ms) == (self.promised, self.owner, self.granted_ms):
            return []
        self.promised, self.owner, self.granted_ms = epoch, owner, granted_ms
        return [PromiseWrite(epoch, owner, granted_ms)]

    # -- messages ------------------------------------------------------------------------------------------

    def handle(self, now: float, wall_ms: int, message: Request) -> Answer:
        """Answer one message; see `follow` for `Subscribe`, which may have to wait."""
        self._now = now
        if isinstance(message, Acquire | Append | Install) and (why := self._foreign(message)):
            self.foreign = why
            return Answer(RequestRefused(self.state(wall_ms), why))
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
                return self._found(wall_ms, message)
            case Report():
                return self._report(now, wall_ms, message)
            case Subscribe():
                reply = self.follow(now, wall_ms, message)
                return Answer(reply or self._followed(now, wall_ms, message, None, ()))

    def _foreign(self, message: Acquire | Append | Install) -> str:
        """Reason to refuse a twin that knows another founding; empty: it does not."""
        theirs = message.snapshot.founding if isinstance(message, Install) else message.founding
        own = self.log.founding_at(self.commit)
        return founding.of_twin(theirs, own) if founding.differ(theirs, own) else ""

    def _joining(self, wall_ms: int, message: Acquire | Append | Install) -> Answer:
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

    def newer(self, entries: tuple[Entry, ...], snapshot: Snapshot | None) -> str:
        """Reason why this version cannot continue with these; empty: it can."""
        return formats.newer(entries, snapshot, self.newest, self._machine.unreadable)

    def _refuse_newer(self, wall_ms: int, why: str) -> Answer:
        """This upstream could not apply it: nobody is at fault but whoever left the older version here."""
        self.outdated = why
        return Answer(RequestRefused(self.state(wall_ms), why))

    def fences(self, message: Append | Install) -> bool:
        """The message comes from a term that is over: deposed, or it gave its lease back."""
        if message.epoch == self.promised:
            return message.owner != self.owner or self._given_back == (message.epoch, message.owner)
        return message.epoch < self.promised

    def promised_to(self, message: Acquire) -> bool:
        """The candidate has this promise already, and has not heard of it: the answer was lost."""
        promise = (message.epoch, message.owner)
        return not message.pre_vote and promise == (self.promised, self.owner) != self._given_back

    def _acquire(self, now: float, wall_ms: int, message: Acquire) -> Answer:
        self.announced.note(message.owner.name, message.format)
        if not self.voting:
            return self._joining(wall_ms, message)
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
        snapshot, entries = self._news(message.have_index, message.have_epoch, self.log.last)
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

    def _news(
        self, have_index: int, have_epoch: int, upto: int, limit: int | None = None, size: int | None = None
    ) -> tuple[Snapshot | None, tuple[Entry, ...]]:
        """Entries after the mirrored one, up to `upto`; with the snapshot where the journal starts later."""
        if have_index > self.log.last:
            return None, ()
        if have_index and self.log.epoch_at(have_index) == have_epoch:  # at 0 it lacks even the membership
            snapshot, after = None, have_index
        else:
            snapshot, after = self.snapshot, self.snapshot.index
        count = upto - after
        return snapshot, tuple(
            self.log.after_index(after, count if limit is None else min(limit, count), size)
        )

    def _append(self, now: float, wall_ms: int, message: Append) -> Answer:
        if not self.voting:
            return self._joining(wall_ms, message)
        if self.fences(message):
            return self._fenced(wall_ms, message)
        previous, entries = message.previous_index, message.entries
        if newer := self.newer(entries, None):
            return self._refuse_newer(wall_ms, newer)
        conflicts = previous >= self.log.base and self.log.epoch_at(previous) != message.previous_epoch
        if previous < self.log.base:
            # What the snapshot covers is committed, hence equal: go on behind it.
            covered = min(self.log.base - previous, len(entries))
            previous, entries = previous + covered, entries[covered:]
        why = validation.to_epoch(message.epoch, wall_ms)
        if not why and not conflicts and previous >= self.log.base:
            why = validation.to_entries(
                self.log, self.replica_id, self.commit, previous, message.epoch, entries, self._validator
            )
        if why:
            return self._refuse(wall_ms, why)
        changed_hands = self.live_holder(now) != message.owner
        writes = self._grant(now, message)
        writes += self._remember(message.acked)
        if previous < self.log.base:
            return Answer(self._equal(wall_ms, message, previous), writes, woke=changed_hands)
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

    def _remember(self, acked: tuple[AckedPosition, ...]) -> list[Write]:
        """Keep what the disks of the membership have confirmed; see whether this one has gone back."""
        for mark in acked:
            if mark.replica_id == self.replica_id and mark.missed_by(
                self.term, self.log.last_epoch, self.log.last
            ):
                self.rolled_back = True
        membership = self.log.membership
        known = merged(self.acked, acked, membership.replica_ids if membership else ())
        if known == self.acked:
            return []
        self.acked = known
        return [AckedPositionsWrite(known)]

    def _taken_of(self, epoch: int, match_index: int, *, cut: bool = False) -> list[Write]:
        """The journal now equals that of this term up to `match_index`.

        It counts as taken with the term's first entry: before that, a disk that has gone back would seem to
        have all that the term adopted. What this term `cut`, it does not have: then a shorter journal is
        no sign of that.
        """
        if epoch == self.term or not (cut or self.log.epoch_at(match_index) == epoch):
            return []
        self.term = epoch
        return [TermWrite(epoch)]

    def _store(self, entries: tuple[Entry, ...]) -> list[Write]:
        writes: list[Write] = []
        for position, entry in enumerate(entries):
            known = self.log.epoch_at(entry.index) if entry.index <= self.log.last else None
            if known == entry.epoch:
                continue
            if known is not None:
                if entry.index <= self.commit:
                    raise AssertionError(f"journal entry {entry.index} is committed and cannot be replaced")
                self.log.cut(entry.index - 1)
                writes.append(CutWrite(entry.index - 1))
            self.log.extend(entries[position:])
            writes.append(AppendWrite(entries[position:]))
            break
        return writes

    def _apply(self) -> list[RecordWrite]:
        """Apply what is committed; the lines to keep."""
        lines: list[Any] = []
        while self._applied < self.commit:
            entry = self.log[self._applied + 1]
            if entry.kind == "command":
                self._machine.apply(entry.index, entry.time_ms, entry.body, entry.format)
                lines += self._machine.lines
            self._applied = entry.index
            self._applied_bytes += len(entry.body)
        return [RecordWrite(tuple(lines))] if lines else []

    def _rebuild(self) -> list[RecordWrite]:
        """Make the state machine anew from the own snapshot and journal: memory may have changed it."""
        self._machine.restore(self.snapshot.state, self.snapshot.format)
        self._applied, self._applied_bytes, self.rebuilt = self.snapshot.index, 0, self.rebuilt + 1
        return self._apply()

    def _agrees(self, digest: bytes) -> bool:
        return digest == self._machine.digest()

    def _comparable(self, message: Append) -> bool:
        return bool(message.digest) and message.digest_index == self._applied

    def _compare(self, message: Append) -> list[RecordWrite]:
        """Compare the ledger with the twin's. Where it differs, make it anew, once in a term."""
        if not self._comparable(message):
            return []
        lines: list[RecordWrite] = []
        self.differs = not self._agrees(message.digest)
        if self.differs and self._rebuilt_in != message.epoch:
            self._rebuilt_in = message.epoch
            lines = self._rebuild()
            self.differs = not self._agrees(message.digest)
        if not self.differs:
            self._rebuilt_in = -1
        return lines

    def _differing(self, wall_ms: int, writes: list[Write]) -> Answer:
        """Confirm nothing to a twin with another ledger. The vote stays: one machine's word takes none."""
        why = "its ledger is not the active twin's, also after it was made anew from its own journal"
        return Answer(RequestRefused(self.state(wall_ms), why, differs=True), writes)

    def _take_snapshot(self) -> Snapshot:
        at = self._applied
        epoch = self.log.epoch_at(at)
        if epoch is None:
            raise AssertionError(f"applied index {at} is not in the journal")
        now = self.log.format_at(at)
        members, state = self.log.membership_at(at), self._machine.snapshot(now)
        return Snapshot(at, epoch, self.log.time_at(at), members, state, now, self.log.founding_at(at))

    def _enough(self) -> bool:
        """The entries make a snapshot worth while."""
        worth = len(self.snapshot.state) // SNAPSHOT_COST
        entries = min(max(worth, SNAPSHOT_EVERY), SNAPSHOT_SELDOM * SNAPSHOT_EVERY)
        membership = self.log.membership
        known = membership is not None and self.replica_id in membership.replica_ids
        replica = membership.replica_ids.index(self.replica_id) if membership is not None and known else 0
        grown = max(self._applied - self.snapshot.index, self._applied_bytes / SNAPSHOT_COST)
        return grown >= entries * SNAPSHOT_STAGGER[replica]

    def _compact(self) -> list[Write]:
        if not self._enough():
            return []
        self.snapshot, self._applied_bytes = self._take_snapshot(), 0
        self.log.compact(self.log.tail(self.snapshot.index, TAIL, FOLLOW_BYTES))
        return [SnapshotWrite(self.snapshot, keep_tail=True)]

    def _install(self, now: float, wall_ms: int, message: Install) -> Answer:
        if self.fences(message):
            return self._fenced(wall_ms, message)
        snapshot = message.snapshot
        if newer := self.newer((), snapshot):
            return self._refuse_newer(wall_ms, newer)
        if snapshot.membership is None or self.replica_id not in snapshot.membership.replica_ids:
            return self._joining(wall_ms, message)
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
            keep = self.log.epoch_at(snapshot.index) == snapshot.epoch
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
            return Answer(self._joining(wall_ms, message).reply, writes)
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
        if promise == (self.promised, self.owner) != self._given_back:
            # An append still under way must not bring the lease back to life; nor must a restart.
            self._given_back = promise
            writes.append(ReleaseWrite(message.epoch))
        if mine:
            self.holder = None
            self.holder_until = float("-inf")
        return Answer(Released(self.state(wall_ms)), writes, woke=mine)

    def _found(self, wall_ms: int, message: Bootstrap) -> Answer:
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
        """Note how the twin is, and tell it how the other one said to be."""
        self._reports.note(message, now)
        other = self._reports.of_other(message.owner.name, now)
        if other is None:
            return Answer(Reported(self.state(wall_ms), message.owner, 0, None))
        said = other.report
        return Answer(
            Reported(
                state=self.state(wall_ms),
                owner=message.owner,
                front=said.front,
                age_ms=other.age_ms,
                twin=said.owner.name,
                ready=said.ready,
                reason=said.reason,
            )
        )

    # -- following -----------------------------------------------------------------------------------------

    def follow(self, now: float, wall_ms: int, message: Subscribe) -> Subscribed | None:
        """The answer to a passive twin; None while it knows everything: ask again after a change."""
        self._now = now
        self.announced.note(message.owner.name, message.format)
        holder = self.live_holder(now)
        seen = (holder.name if holder else "", self.promised)
        snapshot, entries = None, tuple[Entry, ...]()
        if message.entries and self.commit > message.have_index and not self._cannot_apply(message):
            have = message.have_index, message.have_epoch
            snapshot, entries = self._news(*have, self.commit, FOLLOW_LIMIT, FOLLOW_BYTES)
        if not entries and snapshot is None and seen == (message.known_holder, message.known_epoch):
            return None
        return self._followed(now, wall_ms, message, snapshot, entries)

    def _cannot_apply(self, message: Subscribe) -> bool:
        """The twin is told which format is needed (`ReplicaState.needs`), and sent nothing newer."""
        return message.format < self.log.format_at(self.commit)

    def _followed(
        self,
        now: float,
        wall_ms: int,
        message: Subscribe,
        snapshot: Snapshot | None,
        entries: tuple[Entry, ...],
    ) -> Subscribed:
        holder = self.live_holder(now)
        remaining = max(0, round((self.holder_until - now) * 1000)) if holder else 0
        return Subscribed(
            state=self.state(wall_ms),
            owner=message.owner,
            holder=holder.name if holder else "",
            holder_epoch=self.promised,
            remaining_ms=remaining,
            snapshot=snapshot,
            entries=entries,
            digest=self._machine.digest() if self._applied else b"",
        )
