# SPDX-License-Identifier: Apache-2.0
"""Sees everything at once, and says when a promise is broken (DESIGN section 8)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

from tmr.ledger import (
    Borrowed,
    ChainedLine,
    CommandBatch,
    Consume,
    Consumed,
    Denied,
    Freed,
    GivenBack,
    Grant,
    Granted,
    RecordDenials,
    decode,
    each,
    encode,
    link,
)
from tmr.quorum import ledger_copy
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.consensus_clock import AGREE_MS
from tmr.quorum.entries import Entry, ProposerId, Snapshot, decode_format, decode_membership
from tmr.quorum.messages import Appended, PreVote, Promise, Reply
from tmr.quorum.outputs import Applied

from .client import TTL
from .clock import EPOCH_OF_WALL_CLOCKS
from .licences import QUANTITY, UNITS
from .linearizability import NotLinearizable
from .names import TWINS, UPSTREAMS
from .order import Order
from .pauses import PauseCheck
from .seats import check_clients
from .stores import Stores
from .twin import WHOLE, Moment
from .versions import LATER, LATER_COMMAND, ledger_of

if TYPE_CHECKING:
    from .client import Operation
    from .twin import SimTwin
    from .world import World


PAUSE = 0.9
"""Part of the time to live that the other twin has at least, whatever the clocks' rates."""
JUST_NOW = 3.5
"""Seconds for which a twin may count an upstream that is gone: a lease, a pause between two messages, and the
time until one has failed."""
ADDRESS_LATE = 0.17
"""Seconds by which the kernel may remove a twin's address late; see `Timing.guard`."""
SILENCE = 4.0
"""Seconds without service, at most, whatever upstreams flap: two times to live."""
BACK = 6.0
"""Seconds in which service is back once nothing goes wrong any more, with the longest lease."""
LEASE_MS = 3_000
"""The longest lease."""
POLLS_A_SECOND = 20
"""A twin ticks 19 times within a second at most."""
AHEAD_MS = 1_000
"""Certified time may be so much ahead of honest clocks: drift, and rounding."""


def bodies(entry: Entry) -> tuple[bytes, ...]:
    """The commands in an entry."""
    if entry.body == LATER_COMMAND:
        return (encode(RecordDenials(())),)
    command = decode(entry.body)
    return command.bodies if isinstance(command, CommandBatch) else (entry.body,)


class Violation(Exception):
    """A promise was broken."""


class InvariantChecker:
    """See the module."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.journal: dict[int, Entry] = {}
        self.foundation: Snapshot | None = None
        self._members = set[str]()
        """Disks that a committed membership counted at some time."""
        self._retired = set[str]()
        self._founded = set[str]()
        """Disks that were founded with. If with others than the first, they vote, and count nowhere."""
        self._terms: dict[int, str] = {}
        self._asked_for: dict[int, str] = {}
        """Epochs that an upstream promised, and to which twin."""
        self._handed_over: dict[tuple[str, str], tuple[float, int]] = {}
        """When a process gave its term back for the other twin to take, and the epoch of that; by machine and
        run. A copy of its memory from before knows nothing of it.
        """
        self._seen = [0, 0, 0]
        self._genuine_until = [0.0, 0.0, 0.0]
        """When a container with the licence was last seen to answer at each upstream's address."""
        self._stopped: dict[str, float] = {}
        """Machines that their host pauses now, and since when."""
        self._went_on: dict[str, float] = {}
        """Twin that went on after such a pause → mark: what it was asked after that is of now."""
        self.pauses = PauseCheck(world)
        self._committed_at: dict[int, float] = {}
        self._alive_told: list[tuple[str, float, float]] = []
        """Sessions of which a client was told that they live: when it asked, and when it was told."""
        self._served_at = 0.0
        """When a twin was last seen to serve."""
        self._twins_changed_at = 0.0
        """When a twin last started, stopped, or handed over."""
        self._stores = Stores()
        self._polls = Counter[tuple[str, int, int, int]]()
        """Polls of each process of a twin to each upstream, in each second."""
        self._left: dict[tuple[str, str], int] = {}
        """Units that remained after each request for one unit, by client and idempotency key."""

    def fail(self, what: str) -> NoReturn:
        """A promise was broken."""
        raise Violation(f"at {self.world.now:.3f} s: {what}")

    # -- promise 3: one history ----------------------------------------------------------------------------

    def _committed(self, entry: Entry, by: str) -> None:
        known = self.journal.get(entry.index)
        if known is None:
            self.journal[entry.index] = entry
            self._committed_at[entry.index] = self.world.now
            if entry.kind == "members":
                self._members_are(entry)
            elif entry.kind == "format":
                self._format_begins(entry)
            ahead = entry.time_ms - EPOCH_OF_WALL_CLOCKS - self.world.now * 1000 - self.world.set_ms
            # With two wrong clocks, the honest one may have been confirmed by one that is a little ahead.
            # So it is where one is known from before all were set right.
            two_wrong = self.world.disagree_until or self.world.stats["wrong clocks at boot"]
            allowed = AHEAD_MS + (AGREE_MS if two_wrong else 0)
            # A fast clock is not known to be one before upstreams answer, which they do within a lease.
            allowed += LEASE_MS if self.world.stats["clock races"] else 0
            if ahead > allowed:
                self.fail(f"entry {entry.index} is dated {ahead:.0f} ms ahead of the honest clocks")
        elif known is not entry and known != entry:
            self.fail(f"{by} committed {entry} where {known} was committed before")

    def _format_begins(self, entry: Entry) -> None:
        begun, newest = decode_format(entry.body), self.world.newest_run
        self.world.stats["formats begun"] += 1
        if lacking := [name for name in (*UPSTREAMS, *TWINS) if newest[name] < begun]:
            self.fail(f"format {begun} begins at entry {entry.index}, and {lacking} never announced it")

    def _read_by(self, entry: Entry, newest: int, by: str) -> None:
        if entry.format > newest:
            self.fail(f"{by} took entry {entry.index} of format {entry.format}, and knows {newest}")
        if entry.body == LATER_COMMAND and newest < LATER:
            self.fail(f"{by} took the command of entry {entry.index}, and does not know it")

    def _members_are(self, entry: Entry) -> None:
        membership = decode_membership(entry.body)
        self._members.update(membership.replica_ids)
        self._retired.update(membership.retired)
        back = self._retired.intersection(membership.replica_ids)
        if back:
            self.fail(f"{back} was retired, and counts again by entry {entry.index}")

    def voted(self, slot: int, acceptor: Acceptor, reply: Reply) -> None:
        """An upstream's answer leaves: only members vote, and only with a journal."""
        if acceptor.replica_id in self.world.nemesis.foreign:
            return
        if isinstance(reply, PreVote | Promise | Appended):
            if acceptor.replica_id not in self._members and acceptor.replica_id not in self._founded:
                self.fail(
                    f"up{slot + 1} votes with {acceptor.replica_id}, which no committed membership counts"
                )
            if acceptor.log.membership is None:
                self.fail(f"up{slot + 1} votes without knowing who the members are")

        if isinstance(reply, Promise):
            self._asked_for[reply.epoch] = reply.owner.name
        elif isinstance(reply, Appended):
            self._stores.acknowledged(acceptor, reply.match_index)

    def handed_over(self, twin: SimTwin) -> None:
        """The twin is about to give its term back."""
        self._handed_over[twin.name, twin.twin.owner.incarnation] = self.world.now, twin.twin.epoch

    def remembers(self, twin: SimTwin) -> None:
        """The twin goes on from a memory of before: what it handed over since, it does not know."""
        self._handed_over.pop((twin.name, twin.twin.owner.incarnation), None)

    def elected(self, twin: SimTwin) -> None:
        """The twin is active: not soon after it handed over, unless the other one has tried meanwhile."""
        replicator = twin.twin
        at, former = self._handed_over.get((twin.name, replicator.owner.incarnation), (float("-inf"), 0))
        too_fast = self.world.stats["clock races"]  # its time to live is shorter then
        if (
            not too_fast
            and self.world.now - at < PAUSE * replicator.timing.ttl
            and not any(
                former < epoch < replicator.epoch and name != twin.name
                for epoch, name in self._asked_for.items()
            )
        ):
            self.fail(f"{twin.name} took the term back {self.world.now - at:.3f} s after it handed over")

    def applied(self, twin: SimTwin, applied: Applied) -> None:
        """A twin applied a committed entry."""
        self._committed(applied.entry, twin.name)
        self._read_by(applied.entry, twin.twin.newest, twin.name)
        replicator = twin.twin
        if (
            replicator.role == "passive"
            and replicator.applied - replicator.log.base > 3 * ledger_copy.LOG_RETAIN_ENTRIES
        ):
            self.fail(f"{twin.name} keeps {replicator.applied - replicator.log.base} entries for nobody")
        if replicator.role == "active" and applied.entry.epoch == replicator.epoch:
            owner = self._terms.setdefault(replicator.epoch, replicator.owner.incarnation)
            if owner != replicator.owner.incarnation:
                self.fail(
                    f"{replicator.owner.incarnation} and {owner} both committed in epoch {replicator.epoch}"
                )
            members = replicator.log.membership.replica_ids if replicator.log.membership is not None else ()
            if len(stored := self._stores.of(applied.entry, members)) < 2:
                self.fail(f"entry {applied.index} counts as committed, and only {stored} have it")

    def pause_noticed(self, name: str) -> None:
        """A twin says that its host paused it."""
        if name in TWINS and name not in self._went_on and name not in self._stopped:
            self.fail(f"{name} noticed a pause that never was")

    def polled(self, twin: SimTwin, slot: int) -> None:
        """A twin asks an upstream for news: with its ticks, and not as often as the network carries."""
        poll = twin.name, twin.boot, slot, int(self.world.now)
        self._polls[poll] += 1
        if self._polls[poll] > POLLS_A_SECOND:
            self.fail(f"{twin.name} asks up{slot + 1} for news more than {POLLS_A_SECOND} times a second")

    def acceptor_started(self, slot: int, acceptor: Any) -> None:
        """An upstream read its disk."""
        self._seen[slot] = 0
        self.acceptor_moved(slot, acceptor)

    def acceptor_moved(self, slot: int, acceptor: Any) -> None:
        """An upstream handled a message: what it holds for committed must be what everybody does."""
        # An old machine that comes back is told that it was replaced: it cannot know whether that is true.
        # Nor can a copy of a running twin know that it is one.
        stats = self.world.stats
        copied = stats["memory copied"] or stats["memory was put back"]
        if acceptor.refused and acceptor.replica_id not in self.world.nemesis.taken_out and not copied:
            self.fail(f"up{slot + 1} refused what no honest twin sends: {acceptor.refused}")
        if acceptor.replica_id in self.world.nemesis.foreign:
            return
        if acceptor.replica_id in self.world.nemesis.exchanged and acceptor.log.membership is not None:
            self.fail(f"a system is founded on {acceptor.replica_id}, and the twins know another one")
        snapshot = acceptor.snapshot
        if snapshot.index == 0 and snapshot.membership is not None:
            self.foundation = self.foundation or snapshot
            self._founded.update(snapshot.membership.replica_ids)
        for index in range(max(self._seen[slot], acceptor.log.base) + 1, acceptor.commit + 1):
            self._committed(acceptor.log[index], f"up{slot + 1}")
            self._read_by(acceptor.log[index], acceptor.newest, f"up{slot + 1}")
        self._seen[slot] = acceptor.commit

    # -- promise 4: one container alone yields no licence ----------------------------------------------------

    def genuine_until(self, slot: int) -> None:
        """The machine at this address is about to go, or to be another one."""
        if self._genuine(slot):
            self._genuine_until[slot] = self.world.now

    def _genuine(self, slot: int) -> bool:
        upstream = self.world.upstreams[slot]
        return upstream.up and upstream.disk.container.licensed

    def gives(self, twin: SimTwin) -> None:
        """A client is told that it may use the licence: two constituents of it were there just now."""
        now = self.world.now
        there = [
            slot for slot in range(3) if self._genuine(slot) or now - self._genuine_until[slot] < JUST_NOW
        ]
        if len(there) < 2:
            self.fail(f"{twin.name} gives a licence of which {len(there)} constituent is left")

    # -- after every step that can break it ------------------------------------------------------------------

    def twin_changed(self) -> None:
        """A twin starts, stops or hands over: an election needs its time from now on."""
        self._twins_changed_at = self.world.now

    def service_seen(self) -> None:
        """Service comes back while upstreams still flap, and soon after any storm."""
        world = self.world
        founded = self.journal or not world.stormy()  # three new stores are needed for that
        if not founded or any(twin.holds() for twin in world.twins.values()):
            self._served_at = world.now
            return
        calm_for = world.now - max(world.last_fault, self._served_at)
        silent_for = world.now - max(self._served_at, self._twins_changed_at)
        if world.profile.elections_only and silent_for > SILENCE:
            self.fail(f"nobody has served for {silent_for:.2f} s, and only upstreams flap")
        if calm_for > BACK:
            self.fail(f"nobody serves, {calm_for:.2f} s after the last fault")

    def lease_moved(self) -> None:
        """A twin may have a longer lease than before: at most one holds the VIP.

        Between two calls leases only end: by time, or with their twin.
        """
        active = [one for one in self.world.twins.items() if one[1].twin.role == "active"]
        if len(active) < 2:
            return
        holders = [name for name, twin in active if twin.holds() and not self._may_be_wrong(name)]
        if len({self.world.twins[name].twin.owner for name in holders}) > 1:
            self.fail(f"{holders} both hold the lease")

    def lease_over(self, slot: int, asker: ProposerId | None = None) -> None:
        """An upstream's lease has ended, for `asker` to have it: no other twin counts on its grant.

        This holds for each upstream alone, whatever the rates of the two clocks, and for as long as the
        address may remain.
        """
        upstream = self.world.upstreams[slot]
        for name, twin in self.world.twins.items():
            replicator, peer = twin.twin, twin.twin.replicas[slot]
            if (
                replicator.owner == asker
                or not twin.up
                or replicator.role != "active"
                or peer.granted_until is None
            ):
                continue
            if peer.state is None or peer.state.replica_id != upstream.disk.name or self._may_be_wrong(name):
                continue
            if name in self._went_on and peer.confirmed_at < self._went_on[name]:
                continue  # granted before a pause that may be too short to be noticed
            left = peer.granted_until + ADDRESS_LATE - twin.now()
            if left > 0:
                self.fail(f"{upstream.name} ends the lease of {name} {left:.3f} s too early")

    def expires(self, twin: SimTwin, session: str) -> None:
        """A twin ends a session whose client it has not heard: that uses the licence no more."""
        for client in self.world.clients.values():
            if client.session == session and client.holding():
                self.fail(f"{twin.name} ends {session} while {client.name} uses it, by the clocks of both")

    def stopped(self, name: str) -> None:
        """The host pauses the machine, and its clocks stand still."""
        self._stopped[name] = self.world.now
        self.pauses.stopped(name)

    def is_stopped(self, name: str) -> bool:
        """The machine's clocks stand still, or are slow."""
        return name in self._stopped

    def went_on(self, name: str, seconds: float) -> None:
        """The host lets the machine go on."""
        del self._stopped[name]
        self.pauses.went_on(name, seconds)
        if (twin := self.world.twins.get(name)) is not None:
            self._went_on[name] = twin.twin.read_mark(twin.now())

    def _may_be_wrong(self, name: str) -> bool:
        """Its clocks stood still, and no majority has confirmed its term since, or its memory works twice:
        it believes, and must not answer.
        """
        replicator = self.world.twins[name].twin
        if name in self._stopped or replicator.owner in self.world.copied:
            return True  # a copy may have given the lease back that the other one counts on
        mark = self._went_on.get(name, float("-inf"))
        return replicator.confirmed < mark

    def told_alive(self, session: str, asked: float) -> None:
        """A client that asked at `asked` is told that its session lives."""
        self._alive_told.append((session, asked, self.world.now))

    def use_moved(self) -> None:
        """A client may use more than before: together they use no more seats than there are."""
        using = [name for name, client in self.world.clients.items() if client.using()]
        if len(using) > QUANTITY:
            self.fail(f"{using} use {QUANTITY} seats")

    # -- at the end ----------------------------------------------------------------------------------------

    def final(self) -> None:
        """Replay the journal with the ledger, hold every answer against it, and look for life."""
        self._hold_clients_against_one_another()
        outcomes, seats, record, digests = self._replay()
        self._hold_answers_against(outcomes, seats)
        self._hold_lives_against(outcomes)
        self._alive()
        self._hold_containers_against()
        self._hold_records_against(record)
        self._hold_ledgers_against(digests)

    def _hold_clients_against_one_another(self) -> None:
        """From their own records: some order of what they did explains all that they were told.

        Not beside a copy of a twin's memory: what was under way then, either may lack for a moment.
        """
        if self.world.copied:
            return
        try:
            seats, units = check_clients(self.world.clients.values(), QUANTITY, UNITS, TTL)
        except NotLinearizable as error:
            self.fail(str(error))
        self.world.stats["calls linearized"] += seats + units

    def _hold_containers_against(self) -> None:
        """No ledger counts what a container stated that does not answer any more."""
        for twin in self.world.twins.values():
            for upstream in self.world.upstreams:
                ledger = twin.ledger
                kept = upstream.name in ledger.statements and upstream.name not in ledger.withdrawn
                gone = ledger.trusted.get(upstream.name) != upstream.disk.container.key
                if kept and gone and twin.up and twin.holds():
                    self.fail(f"{twin.name}'s ledger counts a container of {upstream.name} that is gone")

    def _hold_ledgers_against(self, digests: list[bytes]) -> None:
        """Every ledger is the journal's."""
        ledgers = {
            upstream.name: (upstream.acceptor.applied, upstream.ledger) for upstream in self.world.upstreams
        }
        for name, twin in self.world.twins.items():
            odd = twin.odd == twin.twin.dropped or self.world.stats["stored ledger differs"]
            if twin.twin.role == "active" or not odd:  # a passive twin's is compared when it is elected
                ledgers[name] = (twin.twin.applied, twin.ledger)
        for name, (applied, ledger) in ledgers.items():
            if ledger.digest() != digests[applied]:
                self.fail(f"{name}'s ledger at entry {applied} is not the journal's")

    def _hold_time_against(self, last: Entry) -> None:
        behind = EPOCH_OF_WALL_CLOCKS + self.world.now * 1000 - last.time_ms
        if behind > AGREE_MS + self.world.now * 1000:
            self.fail(f"certified time is {behind:.0f} ms behind, and two of three clocks are right")

    def _replay(
        self,
    ) -> tuple[dict[Moment, Any], dict[Moment, int], dict[int, list[ChainedLine]], list[bytes]]:
        ledger = ledger_of(self.world, max(self.world.versions.values()))
        outcomes: dict[Moment, Any] = {}
        held: set[str] = set()
        ever: set[str] = set()
        seats: dict[Moment, int] = {(0, WHOLE): 0}
        granted: dict[tuple[str, str], str] = {}
        record: dict[int, list[ChainedLine]] = {}
        digests, order = [ledger.digest()], Order()
        for index in range(1, max(self.journal, default=0) + 1):
            entry = self.journal.get(index)
            if entry is None:
                self.fail(f"journal entry {index} is missing")
            if index > 1 and entry.time_ms < self.journal[index - 1].time_ms:
                self.fail(f"certified time ran backwards at {index}")
            if index > 1 and (wrong := order.time(self.journal[index - 1], entry)):
                self.fail(f"{wrong}, at entry {index}")
            if entry.kind == "command":
                came = each(ledger.apply(index, entry.time_ms, entry.body, entry.format))
                record[index] = list(ledger.lines)
                if wrong := order.queue(ledger, came):
                    self.fail(f"{wrong}, after entry {index}")
                for number, (body, outcome) in enumerate(zip(bodies(entry), came, strict=True), 1):
                    outcomes[index, number] = outcome
                    self._count(outcome, held, ever)
                    self._once(decode(body), outcome, granted)
                    if len(held) > QUANTITY:
                        self.fail(f"{len(held)} seats of {QUANTITY} are out at entry {index}")
                    seats[index, number] = len(held)
            seats[index, WHOLE] = len(held)
            digests.append(ledger.digest())
        if self.journal:
            self._hold_time_against(self.journal[len(self.journal)])
        return outcomes, seats, record, digests

    def _once(self, command: Any, outcome: Any, granted: dict[tuple[str, str], str]) -> None:
        """A request that is carried out again is answered as it was the first time."""
        if isinstance(command, Grant) and isinstance(outcome, Granted):
            key = (command.client, command.request_id)
            if granted.setdefault(key, outcome.session) != outcome.session:
                self.fail(f"request {key} was granted twice")
        if isinstance(command, Consume) and isinstance(outcome, Consumed):
            taken = (command.client, command.request_id)
            left = self._left.setdefault(taken, UNITS - 1 - len(self._left))
            if outcome.remaining != left:
                self.fail(f"request {taken} left {outcome.remaining} units, it was to leave {left}")

    def _hold_records_against(self, record: dict[int, list[ChainedLine]]) -> None:
        """Each upstream kept every line of what it applied, the same as everybody's, in unbroken chains."""
        for upstream in self.world.upstreams:
            kept, skipped = dict(upstream.disk.record), upstream.disk.skipped
            for index, lines in record.items():
                away = index > upstream.disk.commit or any(a <= index <= b for a, b in skipped)
                for line in lines:
                    found = kept.pop((line.firm_code, line.seq), None)
                    if found is None and not away:
                        self.fail(f"{upstream.name} lost line {line.seq} of the record, of entry {index}")
                    if found is not None and (found != line or link(line.before, line.line) != line.hash):
                        self.fail(f"{upstream.name} keeps another line {line.seq} of the record")
                    before = upstream.disk.record.get((line.firm_code, line.seq - 1))
                    if found is not None and before is not None and before.hash != line.before:
                        self.fail(f"{upstream.name}: the chain breaks at line {line.seq}")
                    self.world.stats["lines"] += found is not None
            if kept:
                self.fail(f"{upstream.name} keeps lines of nothing that was committed: {sorted(kept)}")

    @staticmethod
    def _count(outcome: Any, held: set[str], ever: set[str]) -> None:
        begun = [one.session for one in (outcome, *outcome.promoted) if isinstance(one, Granted)]
        begun += [outcome.borrow] if isinstance(outcome, Borrowed) else []
        held.update(one for one in begun if one not in ever)  # a retry is answered alike when it has ended
        ever.update(begun)
        if isinstance(outcome, Freed | GivenBack):
            held.discard(outcome.session if isinstance(outcome, Freed) else outcome.borrow)

    def _hold_answers_against(self, outcomes: dict[Moment, Any], seats: dict[Moment, int]) -> None:
        """Linearizable: an answer is what the journal says at its moment, and those respect real time."""
        done: list[Operation] = []
        for client in self.world.clients.values():
            done += [operation for operation in client.history if operation.answered is not None]
        sessions = set[str]()
        for outcome in outcomes.values():
            sessions |= {one.session for one in (outcome, *outcome.promoted) if isinstance(one, Granted)}
            sessions |= {outcome.borrow} if isinstance(outcome, Borrowed) else set()
        for operation in done:
            answer = operation.answer
            if answer is None:
                continue
            if answer.what in ("granted", "borrowed") and answer.session not in sessions:
                self.fail(f"{operation} was acknowledged and is not in the journal")
            if answer.what == "consumed" and (operation.client, operation.key) not in self._left:
                self.fail(f"{operation} was acknowledged and took no units")
            if answer.what == "freed" and not isinstance(outcomes.get(answer.at), Freed | GivenBack | Denied):
                self.fail(f"{operation} was acknowledged and is not in the journal")
            if answer.what == "read" and answer.in_use != seats[answer.at]:
                self.fail(f"{operation} read {answer.in_use}, the journal says {seats[answer.at]}")
            if answer.what == "no-more-licences" and not answer.remembered and seats[answer.at] < QUANTITY:
                self.fail(f"{operation} was denied with {seats[answer.at]} seats in use")
        moments = sorted(
            [(o.invoked, 0, n) for n, o in enumerate(done)]
            + [(o.answered or 0.0, 1, n) for n, o in enumerate(done)]
        )
        newest, floor = (0, 0), dict[int, Moment]()
        for _, is_answer, number in moments:
            answer = done[number].answer
            if answer is None:
                continue
            if not is_answer:
                floor[number] = newest
            elif answer.at < floor[number] and not self.world.copied:
                self.fail(f"{done[number]} shows a state older than {floor[number]}, known before it began")
            else:
                newest = max(newest, answer.at)

    def _hold_lives_against(self, outcomes: dict[Moment, Any]) -> None:
        """No client was told that a session lives which had ended before it asked."""
        ended: dict[str, float] = {}
        for (index, _), outcome in outcomes.items():
            if isinstance(outcome, Freed):
                ended.setdefault(outcome.session, self._committed_at[index])
        for session, asked, told in self._alive_told:
            if ended.get(session, asked) < asked:
                self.fail(
                    f"at {told:.3f} s a client is told that {session} lives, which had ended at "
                    f"{ended[session]:.3f} s, before it asked at {asked:.3f} s"
                )

    def settled(self) -> bool:
        """One twin serves, and every upstream has its whole journal."""
        serving = [twin.twin for twin in self.world.twins.values() if twin.up and twin.holds()]
        return len(serving) == 1 and all(
            upstream.acceptor.log.last == serving[0].log.last for upstream in self.world.upstreams
        )

    def _alive(self) -> None:
        actives = [twin.twin for twin in self.world.twins.values() if twin.up and twin.holds()]
        if len(actives) != 1:
            self.fail(f"{len(actives)} twins serve after the storm")
        if self.world.profile.upgrade and actives[0].log.format != LATER:
            self.fail(f"all machines are renewed, and the journal is still in format {actives[0].log.format}")
        for upstream in self.world.upstreams:
            acceptor = upstream.acceptor
            if not acceptor.voting:
                self.fail(f"{upstream.name} never joined again")
            if acceptor.log.last != actives[0].log.last:
                self.fail(f"{upstream.name} did not catch up: {acceptor.log.last} of {actives[0].log.last}")
        for client in self.world.clients.values():
            if client.current is not None and self.world.now - client.current.invoked > 4:
                self.fail(f"{client.current} is never answered")
