"""A twin: the production quorum, ledger and heartbeat memory, with the request handling of the TMR server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING, Any

import msgspec

from tmr.ledger import (
    Assemble,
    Borrow,
    Borrowed,
    Command,
    Consume,
    Consumed,
    Denied,
    Free,
    GiveBack,
    Grant,
    Granted,
    Outcome,
    Waiting,
    each,
    encode,
    together,
)
from tmr.quorum.entries import Owner
from tmr.quorum.messages import Follow, Reply, Request
from tmr.quorum.proposer import Applied, NotActive, Output, RoleChanged, Send, Serving

from .licences import FIRM, KEY, PRODUCT
from .names import UPSTREAMS

if TYPE_CHECKING:
    from .world import World

WILL_AFTER = 0.02
"""Seconds after the death of its process in which a twin's supervisor gives its lease back."""
BUSY, BUSY_FOR = 0.3, 0.1
"""How often the event loop has other things to do before it makes entries, and for how many seconds."""


Moment = tuple[int, int]
"""A point in history: after so many commands of the entry with this index."""
WHOLE = 2**31
"""After all of them."""


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


class Asked(msgspec.Struct):
    """A command on its way, and who waits for it."""

    command: Command
    waiting: list[Respond] = []


class SimTwin:
    """See the module."""

    def __init__(self, world: World, name: str, rank: int) -> None:
        self.world, self.name, self.rank = world, name, rank
        self.clock, self.rnd = world.clocks[name], world.stream(name)
        self.boot = 0
        self.up = False
        self.start()

    def now(self) -> float:
        """This machine's monotonic clock."""
        return self.clock.monotonic(self.world.now)

    def start(self) -> None:
        """The process starts: nothing is remembered."""
        self.boot += 1
        self.up = True
        self.ledger = self.world.rules.ledger()
        self.twin = self.world.rules.twin(
            Owner(self.name, f"{self.name}-{self.boot}"),
            self.rank,
            UPSTREAMS,
            self.ledger,
            self.world.timing,
            self.now(),
            self.rnd.random,
        )
        self.sessions = self.world.rules.sessions()
        self.submitted: list[Asked] = []
        """What waits to become entries."""
        self.pending: dict[int, list[Asked]] = {}
        self.asked: dict[tuple[str, str], Asked] = {}
        self._outbox: deque[Output] = deque()
        self._carrying = False
        self._tick()

    def crash(self, *, will: bool = False) -> None:
        """The process is killed, or the power cut. `will`: its supervisor lives, and gives the lease back."""
        self.up = False
        self.boot += 1
        if will and self.twin.role in ("active", "candidate"):
            release, boot = self.twin.last_will(), self.boot
            self.world.stats["last wills"] += 1

            def send() -> None:
                if self.boot == boot:
                    for slot in range(3):
                        self.world.ask(self, slot, release, 0.0)

            self.world.after(WILL_AFTER, send)

    def stop(self) -> None:
        """Stop in good order."""
        self.twin.retire(self.now(), "orderly stop")
        self.turn()
        self.crash()

    def hand_over(self) -> None:
        """Give the lease back for the other twin to take."""
        self.world.witness.handed_over(self)
        self.twin.retire(self.now(), "switchover")
        self.turn()

    def holds(self) -> bool:
        """May answer, and has the VIP."""
        return self.up and self.twin.holds(self.now())

    # -- inputs --------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._journal()
        self.twin.tick(self.now())
        self.turn()
        self.world.run_on(self, 0.055 + 0.028 * self.rnd.random(), self._tick)

    def answered(self, slot: int, sent_at: float, request: Request, reply: Reply) -> None:
        """An upstream answered."""

        def handle() -> None:
            if not isinstance(request, Follow):
                self._journal(slot)
            self.twin.receive(self.now(), slot, sent_at, request, reply)
            self.turn()

        self.world.nemesis.reach(self, "answer received", handle)

    def unanswered(self, slot: int, sent_at: float, request: Request) -> None:
        """An upstream did not answer in time."""
        self.twin.failed(slot, sent_at, request)
        self.turn()

    def turn(self) -> None:
        """Carry out what the twin wants."""
        self._journal()
        self._outbox += self.twin.take()
        if self.twin.role == "active":
            self.world.witness.lease_moved()
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
                self.world.stats["reigns"] += 1
                self.world.tell(f"{self.name} serves in epoch {epoch}")
                lives = [(held.id, held.ttl) for held in self.ledger.sessions.values()]
                for queue in self.ledger.queues.values():
                    lives += [(place, waiter.grant.ttl) for place, waiter in queue.items()]
                self.sessions.begin_reign(self.now(), lives)
            case RoleChanged(role, _, reason):
                self.world.tell(f"{self.name} is {role}: {reason}")
                if role == "active":
                    self.world.witness.elected(self)
                else:
                    self.submitted, self.pending, self.asked = [], {}, {}

    def _keep_house(self) -> None:
        if len(self.ledger.statements) < 3 and not any(
            isinstance(asked.command, Assemble) for asked in chain(self.submitted, *self.pending.values())
        ):
            self.submit(Assemble(self.world.statements))
        for session in self.sessions.expired(self.now(), 10):
            self.world.stats["expiries"] += 1
            if self.submit(Free(session, None, "expiry")) is None:
                self.sessions.kept(self.now(), session)

    def submit(self, command: Command, respond: Respond | None = None) -> Asked | None:
        """Journal a command, now or with others; None if this twin may not."""
        if not self.twin.holds(self.now()):
            return None
        asked = Asked(command, [respond] if respond else [])
        self.submitted.append(asked)
        return asked

    def _journal(self, answered: int | None = None) -> None:
        """Make entries of what was submitted, as the TMR server does."""
        now = self.now()
        if not self.submitted or (self.twin.holds(now) and not self.twin.idle(now, answered)):
            return
        if self.rnd.random() < BUSY:
            self.world.run_on(self, BUSY_FOR * self.rnd.random(), self.turn)
            return
        submitted, self.submitted = self.submitted, []
        entries = list(together([encode(asked.command) for asked in submitted], self.twin.format))
        try:
            first = self.twin.submit(now, *(entry.body for entry in entries))
        except NotActive:
            for asked in submitted:
                self._forget(asked.command)
            return
        commands = iter(submitted)
        for index, entry in enumerate(entries, first):
            self.pending[index] = list(islice(commands, entry.count))
            self.world.stats["shared entries"] += entry.count > 1

    # -- outcomes ------------------------------------------------------------------------------------------

    def _applied(self, applied: Applied) -> None:
        self.world.witness.applied(self, applied)
        pending = self.pending.pop(applied.index, [])
        outcomes = () if applied.outcome is None else each(applied.outcome)
        for number, (outcome, asked) in enumerate(zip_longest(outcomes, pending), 1):
            self._carried_out((applied.index, number), outcome, asked)

    def _carried_out(self, at: Moment, outcome: Outcome, asked: Asked | None) -> None:
        command = None if asked is None else asked.command
        if self.twin.role == "active":
            for granted in (outcome, *outcome.promoted):
                if isinstance(granted, Granted):
                    self.sessions.granted(self.now(), granted.session, granted.ttl)
            if isinstance(outcome, Waiting) and isinstance(command, Grant):
                self.sessions.granted(self.now(), outcome.session, command.ttl)
        if command is not None:
            self._forget(command)
        if isinstance(command, Free):
            self.sessions.ended(command.session)
        for respond in () if asked is None else asked.waiting:
            self._respond(respond, self._answer(at, outcome))

    def _forget(self, command: Command) -> None:
        """The command is not on its way any more."""
        if isinstance(command, Grant | Consume | Borrow):
            self.asked.pop((command.client, command.request_id), None)
        if isinstance(command, Free):
            self.asked.pop((command.client or "", command.session), None)
        if isinstance(command, GiveBack):
            self.asked.pop((command.client or "", command.borrow), None)

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

    def _respond(self, respond: Respond, answer: Answer) -> None:
        """Answer, if the lease still lives at this very moment."""

        def check() -> None:
            if self.holds() or self.world.rules.answer_without_lease:
                self.world.nemesis.reach(self, "checked, not answered", lambda: respond(answer))

        self.world.nemesis.reach(self, "committed, not checked", check)

    # -- requests ------------------------------------------------------------------------------------------

    def checkout(self, client: str, request_id: str, ttl: int, wait: bool, respond: Respond) -> None:
        """`POST /v1/sessions`."""
        if not self.holds():
            return
        if (asked := self.asked.get((client, request_id))) is not None:
            asked.waiting.append(respond)
            return
        known = self.ledger.remembered(client, request_id)
        if known is not None and isinstance(known[1], Granted):
            self._repeat(known[1], respond)
            return
        if known is not None and isinstance(known[1], Waiting) and self._heard(known[1].session) != "alive":
            return
        if known is not None:
            self._remembered(known[1], respond)
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

    def _remembered(self, outcome: Any, respond: Respond) -> None:
        answer = self._answer(self._mirrored(), outcome)
        self._respond(respond, msgspec.structs.replace(answer, remembered=True))

    def _decide(self, command: Command, client: str, key: str, respond: Respond) -> None:
        early = self.world.rules.answer_before_commit
        submitted = self.submit(command, None if early else respond)
        if submitted is not None:
            self.asked[client, key] = submitted
            if early and isinstance(command, Grant):
                self._respond(respond, Answer("granted", self._mirrored(), command.session))
        self.turn()

    def _once(self, client: str, key: str, respond: Respond) -> bool:
        """The request may be submitted: it is not under way, and was not decided before."""
        if not self.holds():
            return False
        if (asked := self.asked.get((client, key))) is not None:
            asked.waiting.append(respond)
            return False
        known = self.ledger.remembered(client, key)
        if known is not None:
            self._remembered(known[1], respond)
        return known is None

    def units(self, client: str, request_id: str, session: str, units: int, respond: Respond) -> None:
        """`POST /v1/sessions/{id}/units`."""
        if self._once(client, request_id, respond):
            self._decide(Consume(request_id, client, session, units), client, request_id, respond)

    def borrow(self, client: str, request_id: str, respond: Respond) -> None:
        """`POST /v1/borrowings`."""
        if not self._once(client, request_id, respond):
            return
        name = f"{self.rnd.getrandbits(64):016x}"
        borrow = Borrow(request_id, client, name, FIRM, PRODUCT, (KEY,), 3600, client, client)
        denied = self.ledger.review(borrow, self.twin.log.last_time)
        if denied is not None:
            self._respond(respond, Answer(denied.reason, self._mirrored()))
            return
        self._decide(borrow, client, request_id, respond)

    def give_back(self, client: str, borrow: str, respond: Respond) -> None:
        """`DELETE /v1/borrowings/{id}`."""
        if self._once(client, borrow, respond):
            self._decide(GiveBack(borrow, client, "release"), client, borrow, respond)

    def _repeat(self, granted: Granted, respond: Respond) -> None:
        if granted.session not in self.ledger.sessions:
            self._respond(respond, Answer("session-lost", self._mirrored(), granted.session))
        elif self._heard(granted.session) == "alive":
            self._respond(respond, Answer("granted", self._mirrored(), granted.session))

    def _heard(self, session: str) -> str:
        answer = self.sessions.heartbeat(self.now(), session)
        return "alive" if answer == "ending" and self.world.rules.renew_while_expiring else answer

    def heartbeat(self, session: str, respond: Respond) -> None:
        """`PUT /v1/sessions/{id}/heartbeat`."""
        if not self.holds() and not self.world.rules.answer_without_lease:
            return
        match self._heard(session):
            case "alive":
                self._respond(respond, Answer("alive", self._mirrored(), session))
            case "unknown":
                self._respond(respond, Answer("lost", self._mirrored(), session))

    def release(self, client: str, session: str, respond: Respond) -> None:
        """`DELETE /v1/sessions/{id}`."""
        if not self.holds():
            return
        if (asked := self.asked.get((client, session))) is not None:
            asked.waiting.append(respond)
            return
        submitted = self.submit(Free(session, client, "release"), respond)
        if submitted is not None:
            self.sessions.ending(session)
            self.asked[client, session] = submitted
        self.turn()

    def read(self, respond: Respond) -> None:
        """How many seats are in use: a read under the lease."""
        if self.holds() or self.world.rules.answer_without_lease:
            seats = self.ledger.use(KEY).seats
            self._respond(respond, Answer("read", self._mirrored(), in_use=seats))
