# SPDX-License-Identifier: Apache-2.0
"""A twin: the production quorum, ledger and heartbeat memory, with the request handling of the TMR server."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from tmr.ledger import (
    AcceptTime,
    Borrow,
    Borrowed,
    Command,
    Consume,
    Consumed,
    Denied,
    Free,
    Freed,
    GiveBack,
    Grant,
    Granted,
    Ledger,
    Outcome,
    StateContainers,
    Trust,
    Waiting,
    Withdraw,
    constituents,
    each,
    encode,
    together,
)
from tmr.licensing.items import LicenceKey
from tmr.quorum.anchor import Anchor
from tmr.quorum.entries import ProposerId
from tmr.quorum.message_order import CopiedTwin
from tmr.quorum.messages import Reply, Request, Subscribe
from tmr.quorum.outputs import Applied, NotActive, Output, RoleChanged, Send, Serving
from tmr.quorum.proposer import Proposer
from tmr.service.container_view import UpstreamState
from tmr.service.in_flight import Fate, Submission, Undecided
from tmr.service.liveness import LivenessTable
from tmr.twin.upstream_states import Reachability, upstream_states

from .licences import ACT_ID, FIRM, KEY, PRODUCT
from .names import UPSTREAMS
from .versions import LATER, LATER_COMMAND, ledger_of

if TYPE_CHECKING:
    from .world import World

WILL_AFTER = 0.02
"""Seconds after the death of its process in which a twin's supervisor gives its lease back."""
KEEP_EVERY = 1.0
"""Seconds between two anchors on the disk."""
NOBODYS = LicenceKey(FIRM, PRODUCT + 1, KEY.tmr_id)
"""A licence that no client asks for."""
BUSY, BUSY_FOR = 0.3, 0.1
"""How often the event loop has other things to do before it makes entries, and for how many seconds."""


Moment = tuple[int, int]
"""A point in history: after so many commands of the entry with this index."""
WHOLE = 2**31
"""After all of them."""
GIVES = ("granted", "alive", "borrowed", "consumed")
"""Answers by which a client may use the licence."""


class Answer(msgspec.Struct, frozen=True):
    """What a client is told: `what` happened, at which moment, on what session."""

    what: str
    at: Moment = (0, WHOLE)
    session: str = ""
    in_use: int = 0
    remaining: int = 0
    """Units that remain."""
    remembered: bool = False
    """The outcome of an earlier attempt: `at` is not where it happened."""


Respond = Callable[[Answer], None]


class Reader(msgspec.Struct):
    """Where an answer goes, and the mark of its request: what is answered must be proved after that."""

    respond: Respond
    mark: float
    since: float
    """When the request came in, true time."""


class Asked(msgspec.Struct):
    """A command on its way. `at`: the moment at which it was carried out."""

    command: Command
    submission: Submission
    at: Moment = (0, 0)


class Memory(msgspec.Struct):
    """What a running twin has in memory, and what its clock showed then."""

    twin: Proposer
    sessions: LivenessTable
    ends: set[str]
    reading: float


class SimTwin:
    """See the module."""

    def __init__(
        self, world: World, name: str, rank: int, named: str = "", anchor: Anchor | None = None
    ) -> None:
        """`named`: the name in its certificate, if it is another's."""
        self.world, self.name, self.rank, self.named = world, name, rank, named or name
        self.clock, self.rnd = world.clocks[name], world.stream(name)
        self.boot = 0
        self.up = False
        self.anchor = anchor
        """On this machine's disk: written now and then, and at an orderly stop."""
        self._anchored_at = float("-inf")
        self.remembered = 0
        """Times that it went on from a memory of before: what is sent to it earlier never arrives."""
        self.start()

    def now(self) -> float:
        """This machine's monotonic clock."""
        return self.clock.monotonic(self.world.now)

    def start(self) -> None:
        """The process starts: nothing is remembered."""
        self.boot += 1
        self.up = True
        self.world.lives += 1
        self.world.checker.twin_changed()
        version = self.world.started(self.name)
        self.ledger = ledger_of(self.world, version)
        self.twin = self.world.rules.twin(
            ProposerId(self.named, f"{self.name}-{self.world.lives}"),
            self.rank,
            UPSTREAMS,
            self.ledger,
            self.world.timings[self.name],
            self.now(),
            self.rnd.random,
            self.anchor if self.world.rules.keep_anchor else None,
            version,
        )
        self.odd: int | None = None
        """Ledgers that were dropped when this one became another than the journal's; None: it did not."""
        self.sessions = self.world.rules.sessions(self.twin.steady)
        self.in_flight = self.world.rules.in_flight(self.world.profile.patience * self.twin.timing.ttl)
        self._gone: dict[Withdraw, float] = {}
        """Containers that are gone, and since when."""
        self.virtual = self.world.rules.view(self.ledger, ACT_ID)
        self.asked: dict[tuple[str, str], Asked] = {}
        self.ends = set[str]()
        """Sessions whose end is, or may come, in the journal: nobody may be told that they live."""
        self._assembling = 0
        """Commands about containers whose fate is not known."""
        self._moments: dict[int, Moment] = {}
        """Where each submission that is in the journal will be carried out, by its identity."""
        self.reads: list[tuple[float, Callable[[], None]]] = []
        """Marks of requests, and what is done once they are confirmed."""
        self._outbox: deque[Output] = deque()
        self._carrying = False
        self._tick()

    def crash(self, *, release: bool = False) -> None:
        """The process is killed, or the power cut. `release`: its supervisor gives the lease back."""
        self.up = False
        self.boot += 1
        if release and self.twin.role in ("active", "candidate"):
            message, boot = self.twin.lease_release(), self.boot
            self.world.stats["lease releases"] += 1

            def send() -> None:
                if self.boot == boot:
                    for slot in range(3):
                        self.world.ask(self, slot, message, 0.0)

            self.world.after(WILL_AFTER, send)

    def stop(self) -> None:
        """Stop in good order."""
        self.world.checker.twin_changed()
        self.twin.retire(self.now(), "orderly stop")
        self.turn()
        self.keep_anchor()
        self.crash()

    def hand_over(self) -> None:
        """Give the lease back for the other twin to take."""
        self.world.checker.handed_over(self)
        self.world.checker.twin_changed()
        self.twin.retire(self.now(), "switchover")
        self.turn()

    def diverge(self) -> None:
        """The ledger in memory becomes another than the journal says.

        In an active twin in what no client asks for: an answer may leave before the next comparison.
        """
        self.ledger._ledger_state.usage.spend(NOBODYS if self.twin.role == "active" else KEY, 1)
        self.odd = self.twin.dropped

    def holds(self) -> bool:
        """May answer, and has the VIP."""
        return self.up and self.twin.role == "active" and self.twin.holds(self.now())

    # -- inputs --------------------------------------------------------------------------------------------

    def keep_anchor(self) -> None:
        """Write the anchor; the file is replaced as a whole."""
        self.anchor = self.twin.confirmed_anchor or self.anchor
        self._anchored_at = self.now()

    def _tick(self) -> None:
        self._journal()
        self.world.stats["older version held back"] += bool(self.twin.outdated)
        self.twin.tick(self.now())
        self.turn()
        self.in_flight.lose_patience(self.now())
        if self.now() - self._anchored_at >= KEEP_EVERY:
            self.keep_anchor()
        self.world.run_on(self, 0.055 + 0.028 * self.rnd.random(), self._tick)

    def answered(self, slot: int, sent_at: float, request: Request, reply: Reply) -> None:
        """An upstream answered."""

        def handle() -> None:
            if not isinstance(request, Subscribe):
                self._journal(slot)
            before = self.twin.paused_at
            try:
                self.twin.receive(self.now(), slot, sent_at, request, reply)
            except CopiedTwin:
                self._end_as_a_copy()
                return
            if self.twin.paused_at != before:
                self.world.checker.pause_noticed(self.name)
            self.world.checker.pauses.answered(self, slot, sent_at, request, reply)
            self.turn()

        self.world.nemesis.reach(self, "answer received", handle)

    def _end_as_a_copy(self) -> None:
        """Another machine has this memory: the process ends, and is started again."""
        self.world.stats["copies of memory that ended"] += 1
        self.crash(release=self.rnd.random() < 0.5)
        boot = self.boot
        self.world.after(0.3, lambda: self.start() if self.boot == boot and not self.up else None)

    def memory(self) -> Memory:
        """A copy of what is in its memory."""
        twin, sessions = copy.deepcopy((self.twin, self.sessions))
        return Memory(twin, sessions, set(self.ends), self.now())

    def remember(self, memory: Memory) -> None:
        """Go on from this memory: another machine's, or its own of before. All connections have ended."""
        self.boot += 1
        self.remembered += 1
        self.twin, self.sessions, self.ends = memory.twin, memory.sessions, memory.ends
        self.world.checker.remembers(self)
        ledger = self.twin._machine
        assert isinstance(ledger, Ledger)
        self.ledger, self.virtual = ledger, self.world.rules.view(ledger, ACT_ID)
        self.in_flight = self.world.rules.in_flight(self.world.profile.patience * self.twin.timing.ttl)
        self.asked, self.reads, self._outbox = {}, [], deque()
        self._moments, self._gone, self._assembling, self._carrying = {}, {}, 0, False
        for progress in self.twin.replicas:
            progress.busy = progress.subscribed = False
        self._tick()

    def unanswered(self, slot: int, sent_at: float, request: Request) -> None:
        """An upstream did not answer in time."""
        self.twin.failed(slot, sent_at, request)
        self.turn()

    def turn(self) -> None:
        """Carry out what the twin wants."""
        self._journal()
        self._outbox += self.twin.take()
        self.twin.check_invariants()
        if self.twin.role == "active":
            self.world.checker.lease_moved()
        if not self._carrying:
            self._carry_out()

    def _carry_out(self) -> None:
        """One output after the other, until the machine stands still or dies."""
        boot, self._carrying = self.boot, True
        while True:
            while self._outbox:
                if self.world.paused(self.name):
                    self.world.run_on(self, 0, self._carry_out)
                    return
                self._output(self._outbox.popleft())
                if self.boot != boot:
                    return
            if self.holds():
                self._keep_house()
            self._prove_reads()
            if self.boot != boot:
                return
            self._journal()
            self._outbox += self.twin.take()
            if not self._outbox:
                self._carrying = False
                return

    def _output(self, output: Output) -> None:
        match output:
            case Send(slot, request, at):
                self.world.nemesis.reach(
                    self, "decided, not sent", lambda: self.world.ask(self, slot, request, at)
                )
            case Applied():
                self._applied(output)
            case Serving(epoch):
                self.world.stats["terms"] += 1
                self.world.tell(f"{self.name} serves in epoch {epoch}")
                lives = [(held.id, held.ttl) for held in self.ledger.sessions.values()]
                for queue in self.ledger.queues.values():
                    lives += [(place, waiter.grant.ttl) for place, waiter in queue.items()]
                self.sessions.begin_term(self.now(), lives)
            case RoleChanged(role, _, reason):
                self.world.tell(f"{self.name} is {role}: {reason}")
                if role == "active":
                    self.world.checker.elected(self)
                else:
                    self.ends.clear()
                    self.reads.clear()
                    self.sessions.end_term()
                    self.in_flight.end_term()

    def _keep_house(self) -> None:
        self._look_after_containers()
        for session in self.sessions.expired(self.now(), 10):
            self.world.stats["expiries"] += 1
            self.world.checker.expires(self, session)
            self.submit(Free(session, None, "expiry"))

    def upstreams(self) -> tuple[UpstreamState, ...]:
        """The three as this twin sees them now."""
        return upstream_states(self.twin, (Reachability(),) * 3)

    def available(self) -> bool:
        """Two constituents of the licence count."""
        return self.virtual.available(KEY, self.upstreams())

    def _look_after_containers(self) -> None:
        """Have the journal know what the containers state, and the operator's trust in new ones."""
        if self._assembling:
            return
        upstreams = self.upstreams()
        for withdraw in constituents.withdrawals(self.ledger, upstreams):
            seen = self._gone.setdefault(withdraw, self.world.now)
            if self.world.now - seen >= self.world.rules.withdraw_after:
                self._assemble(withdraw)
                self.world.stats["statements withdrawn"] += 1
        stated = []
        for slot, upstream in enumerate(upstreams):
            container = self.world.upstreams[slot].disk.container
            there = upstream.reachable and upstream.container == container.fingerprint
            if not there or not self.world.upstreams[slot].up:
                continue
            trusted, known = self.ledger.trusted.get(upstream.name), self.ledger.statements.get(upstream.name)
            if trusted not in (None, container.key):
                if container.licensed and upstream.voting:
                    self._assemble(Trust(upstream.name, container.key))
                    self.world.stats["containers trusted"] += 1
                continue
            if (
                known is None
                or known.generation != container.generation
                or upstream.name in self.ledger.withdrawn
            ):
                stated.append(container.statement(upstream.name))
        if stated:
            self._assemble(StateContainers(tuple(stated)))

    def _assemble(self, command: StateContainers | Trust | Withdraw) -> None:
        """Journal what concerns containers; nothing more of it before its fate is known."""
        self._assembling += 1
        self.submit(command)

    def submit(self, command: Command, respond: Reader | None = None) -> Asked:
        """Journal a command, now or with others. Only while this twin holds the lease."""
        asked = Asked(command, self.in_flight.add(self.now(), encode(command)))
        if isinstance(command, Free):
            self.ends.add(command.session)
        asked.submission.then(lambda fate: self._decided(asked, fate))
        if respond is not None:
            self._listen(asked, respond)
        return asked

    def write_newer_command(self) -> bool:
        """Journal a command that the first version does not know, if this one does and may."""
        if not self.holds() or self.twin.newest < LATER or self.world.paused(self.name):
            return False
        self.in_flight.add(self.now(), LATER_COMMAND)
        self.turn()
        return True

    def _listen(self, asked: Asked, respond: Reader) -> None:
        """Have a client told what becomes of the command, unless its patience ends first."""

        def hear(answer: Fate | Undecided) -> None:
            if isinstance(answer, Undecided):
                self.world.stats["patience lost"] += 1
            elif not isinstance(answer, Exception):
                self._respond(respond, self._answer(asked.at, answer))

        self.in_flight.listen(self.now(), asked.submission, hear)

    def _journal(self, answered: int | None = None) -> None:
        """Make entries of what was submitted, as the TMR server does."""
        if not self.in_flight.waiting:
            return
        now = self.now()
        if self.twin.holds(now) and not self.twin.idle(now, answered):
            return
        if self.rnd.random() < BUSY:
            self.world.run_on(self, BUSY_FOR * self.rnd.random(), self.turn)
            return
        submitted = self.in_flight.take()
        entries = list(together([one.body for one in submitted], self.twin.format))
        try:
            first = self.twin.submit(now, *(entry.body for entry in entries))
        except NotActive as error:
            self.in_flight.turn_away(submitted, error)
            return
        self.in_flight.enter(first, self.twin.epoch, entries, submitted)
        moments = [(at, n) for at, entry in enumerate(entries, first) for n in range(1, entry.count + 1)]
        self._moments.update(zip(map(id, submitted), moments, strict=True))
        self.world.stats["shared entries"] += sum(entry.count > 1 for entry in entries)

    # -- outcomes ------------------------------------------------------------------------------------------

    def _applied(self, applied: Applied) -> None:
        self.world.checker.applied(self, applied)
        outcomes = () if applied.outcome is None else each(applied.outcome)
        for outcome in outcomes:
            self._keep_in_step(outcome)
        self.in_flight.applied(applied.index, applied.entry.epoch, applied.entry.body, outcomes)

    def _keep_in_step(self, outcome: Outcome) -> None:
        """Keep the heartbeat memory in step with the ledger, as the TMR server does."""
        if self.twin.role == "active":
            for granted in (outcome, *outcome.promoted):
                if isinstance(granted, Granted):
                    self.sessions.granted(self.now(), granted.session, granted.ttl)
                    if granted.session in self.ends:  # released before this twin had heard of it
                        self.sessions.ending(granted.session)
            if isinstance(outcome, Waiting) and (product := self.ledger.waiting.get(outcome.session)):
                waiter = self.ledger.queues[product][outcome.session]
                self.sessions.granted(self.now(), outcome.session, waiter.grant.ttl)
        if isinstance(outcome, Freed):
            self.ends.discard(outcome.session)
            self.sessions.ended(outcome.session)

    def _decided(self, asked: Asked, fate: Fate) -> None:
        """The fate of a command is certain: it is not on its way any more."""
        asked.at = self._moments.pop(id(asked.submission), asked.at)
        match command := asked.command:
            case Grant() | Consume() | Borrow():
                self.asked.pop((command.client, command.request_id), None)
            case Free():
                self.asked.pop((command.client or "", command.session), None)
                self.sessions.kept(self.now(), command.session)  # once freed, there is nothing to keep
            case GiveBack():
                self.asked.pop((command.client or "", command.borrow), None)
            case StateContainers() | Trust() | Withdraw():
                self._assembling -= 1

    @staticmethod
    def _answer(at: Moment, outcome: Any) -> Answer:
        if isinstance(outcome, Granted):
            return Answer("granted", at, outcome.session)
        if isinstance(outcome, Waiting):
            return Answer("waiting", at, outcome.session)
        if isinstance(outcome, Borrowed):
            return Answer("borrowed", at, outcome.borrow)
        if isinstance(outcome, Consumed):
            return Answer("consumed", at, outcome.session, remaining=outcome.remaining)
        return Answer(outcome.reason if isinstance(outcome, Denied) else "freed", at)

    def _mirrored(self) -> Moment:
        """The moment that this twin's ledger shows."""
        return self.twin.applied, WHOLE

    def _respond(self, respond: Reader, answer: Answer) -> None:
        """Answer, if the lease still lives at this very moment."""

        rules = self.world.rules

        def leave() -> None:
            if answer.what == "alive":
                self.world.checker.told_alive(answer.session, respond.since)
            respond.respond(answer)

        def check() -> None:
            if self.holds() or rules.answer_without_lease:
                if answer.what in GIVES:
                    if not self.available():
                        self.world.stats["not answered for want of a constituent"] += 1
                        return
                    self.world.checker.gives(self)
                self.world.nemesis.reach(self, "checked, not answered", leave)

        def proved() -> None:
            self.world.nemesis.reach(self, "committed, not checked", check)

        if rules.answer_without_lease or rules.answer_unproved or self.twin.confirmed >= respond.mark:
            proved()
            return
        self.world.stats["answers that waited for a round"] += 1
        self.reads.append((respond.mark, proved))
        self.twin.demand_round(self.now())
        self.turn()

    def reader(self, respond: Respond) -> Reader:
        """A request comes in now, and is answered by `respond`."""
        return Reader(respond, self.twin.read_mark(self.now()), self.world.now)

    def _prove_reads(self) -> None:
        """Let the answers leave that a round has proved."""
        if not self.reads:
            return
        confirmed = self.twin.confirmed
        ready = [go for mark, go in self.reads if mark <= confirmed]
        self.reads = [one for one in self.reads if one[0] > confirmed]
        for go in ready:
            go()

    # -- certified time ------------------------------------------------------------------------------------

    def time_waits(self) -> int | None:
        """What the clocks show, if certified time does not follow them."""
        self.twin.certified.read(self.twin.steady.read(self.now()) * 1000, self.twin.log.last_time)
        return self.twin.certified.waits

    def in_doubt(self) -> bool:
        """Nothing new is decided, since it is not known what time it is."""
        doubt = self.time_waits() is not None
        self.world.stats["refused while the time is in doubt"] += doubt
        return doubt

    def accept_time(self, shown: int) -> None:
        """An operator accepts what the clocks show."""
        before = self.twin.log.last_time
        steady_ms = self.twin.steady.read(self.now()) * 1000
        if self.holds() and self.twin.certified.accept(steady_ms, shown):
            self.submit(AcceptTime(before, "olga"))
            self.turn()

    # -- requests ------------------------------------------------------------------------------------------

    def checkout(self, client: str, request_id: str, ttl: int, wait: bool, respond: Reader) -> None:
        """`POST /v1/sessions`."""
        if not self.holds():
            return
        if (asked := self.asked.get((client, request_id))) is not None:
            self._listen(asked, respond)
            return
        known = self.ledger.remembered(client, request_id)
        if known is not None and isinstance(known.outcome, Granted):
            self._repeat(known.outcome, respond)
            return
        if (
            known is not None
            and isinstance(known.outcome, Waiting)
            and self._heard(known.outcome.session) != "alive"
        ):
            return
        if known is not None:
            self._remembered(known.outcome, respond)
            return
        if not self.available() or self.in_doubt():
            return
        session = f"{self.rnd.getrandbits(64):016x}"
        grant = Grant(
            request_id, client, session, FIRM, PRODUCT, (KEY,), "user-limit", ttl, client, wait=wait
        )
        denied = self.ledger.review(grant, self.twin.log.last_time)
        if denied is not None:
            self._respond(respond, Answer(denied.reason, self._mirrored()))
            return
        self._decide(grant, client, request_id, respond)

    def _remembered(self, outcome: Any, respond: Reader) -> None:
        answer = self._answer(self._mirrored(), outcome)
        self._respond(respond, msgspec.structs.replace(answer, remembered=True))

    def _decide(self, command: Command, client: str, key: str, respond: Reader) -> None:
        early = self.world.rules.answer_before_commit
        self.asked[client, key] = self.submit(command, None if early else respond)
        if early and isinstance(command, Grant):
            self._respond(respond, Answer("granted", self._mirrored(), command.session))
        self.turn()

    def _once(self, client: str, key: str, respond: Reader) -> bool:
        """The request may be submitted: it is not under way, and was not decided before."""
        if not self.holds():
            return False
        if (asked := self.asked.get((client, key))) is not None:
            self._listen(asked, respond)
            return False
        known = self.ledger.remembered(client, key)
        if known is not None:
            self._remembered(known.outcome, respond)
        return known is None

    def units(self, client: str, request_id: str, session: str, units: int, respond: Reader) -> None:
        """`POST /v1/sessions/{id}/units`."""
        if self._once(client, request_id, respond) and self.available() and not self.in_doubt():
            self._decide(Consume(request_id, client, session, units), client, request_id, respond)

    def borrow(self, client: str, request_id: str, respond: Reader) -> None:
        """`POST /v1/borrowings`."""
        if not self._once(client, request_id, respond):
            return
        if not self.available() or self.in_doubt():
            return
        name = f"{self.rnd.getrandbits(64):016x}"
        borrow = Borrow(request_id, client, name, FIRM, PRODUCT, (KEY,), 3600, client, client)
        denied = self.ledger.review(borrow, self.twin.log.last_time)
        if denied is not None:
            self._respond(respond, Answer(denied.reason, self._mirrored()))
            return
        self._decide(borrow, client, request_id, respond)

    def give_back(self, client: str, borrow: str, respond: Reader) -> None:
        """`DELETE /v1/borrowings/{id}`."""
        if self._once(client, borrow, respond):
            self._decide(GiveBack(borrow, client, "release"), client, borrow, respond)

    def _repeat(self, granted: Granted, respond: Reader) -> None:
        if granted.session not in self.ledger.sessions:
            self._respond(respond, Answer("session-lost", self._mirrored(), granted.session))
        elif self._heard(granted.session) == "alive":
            self._respond(respond, Answer("granted", self._mirrored(), granted.session))

    def _heard(self, session: str) -> str:
        answer = self.sessions.heartbeat(self.now(), session)
        if answer == "ending" and self.world.rules.renew_while_expiring:
            return "alive"
        if answer == "alive" and session in self.ends:
            self.world.checker.fail(f"{self.name} says that {session} lives, and its end may be committed")
        return answer

    def heartbeat(self, session: str, respond: Reader) -> None:
        """`PUT /v1/sessions/{id}/heartbeat`."""
        if not self.holds() and not self.world.rules.answer_without_lease:
            return
        if session in self.ledger.sessions and not self.available():
            return
        match self._heard(session):
            case "alive":
                self._respond(respond, Answer("alive", self._mirrored(), session))
            case "unknown":
                self._respond(respond, Answer("lost", self._mirrored(), session))

    def release(self, client: str, session: str, respond: Reader) -> None:
        """`DELETE /v1/sessions/{id}`."""
        if not self.holds():
            return
        if (asked := self.asked.get((client, session))) is not None:
            self._listen(asked, respond)
            return
        self.asked[client, session] = self.submit(Free(session, client, "release"), respond)
        self.sessions.ending(session)
        self.turn()

    def read(self, respond: Reader) -> None:
        """How many seats are in use: a read under the lease."""
        if self.holds() or self.world.rules.answer_without_lease:
            seats = self.ledger.use(KEY).seats
            self._respond(respond, Answer("read", self._mirrored(), in_use=seats))
