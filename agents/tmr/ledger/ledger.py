"""`apply(entry) → outcome`: seats, queues, units, borrowings, access rules, the record. The same everywhere.

Nothing here may depend on anything but the entries: no clock, no order of a set, no container at hand.
"""

import hashlib
import heapq
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from tmr.ledger import access, validity
from tmr.ledger.access import Rule, Subject
from tmr.ledger.commands import (
    Assemble,
    Borrow,
    Consume,
    Free,
    GiveBack,
    Grant,
    Note,
    Request,
    SetAccess,
    Trust,
    decode,
)
from tmr.ledger.outcomes import (
    AccessSet,
    Assembled,
    Borrowed,
    Consumed,
    Denied,
    Freed,
    GivenBack,
    Granted,
    Noted,
    Outcome,
    Waiting,
)
from tmr.ledger.record import Chained, Event, Head, Line, chain
from tmr.ledger.state import Borrowing, Counter, Ended, Remembered, Session, Stored, Waiter
from tmr.ledger.use import Use
from tmr.licensing import (
    BadStatement,
    LicenceKey,
    MergedLicence,
    ProductItem,
    SignedStatement,
    Statement,
    alone,
    merge,
    open_statement,
)

REMEMBER_MS: Final = 600_000
"""Outcomes are remembered this long, for retries: far beyond any client's patience."""
MAX_REMEMBERED: Final = 200_000
"""Outcomes remembered at most: the oldest go first."""
ENDED_MS: Final = 3_600_000
"""How a session ended is remembered this long, for whoever asks after it."""
MAX_ENDED: Final = 50_000
MAX_SESSIONS: Final = 200_000
"""Sessions that one system holds; beyond, requests are denied."""
MAX_BORROWINGS: Final = 50_000
MAX_WAITING: Final = 10_000
BORROW_GRACE_MS: Final = 60_000
"""A borrowed seat is counted so much longer than its file is valid: the borrower's clock may be behind."""

Product = tuple[int, int]

_encoder = msgspec.msgpack.Encoder()
_stored_decoder: msgspec.msgpack.Decoder[Stored] = msgspec.msgpack.Decoder(Stored)


class Refusal(msgspec.Struct, frozen=True):
    """Why one licence is not given. `queues`: it may be given later, so waiting makes sense. `blocks`: all of
    its seats are taken, so that nobody who came later may have one before."""

    denied: Denied
    queues: bool = False
    blocks: bool = False


class Asked(msgspec.Struct, frozen=True):
    """What `Grant` and `Borrow` have in common for the choice of a licence."""

    firm_code: int
    product_code: int
    keys: tuple[LicenceKey, ...]
    subject: Subject
    mode: str
    client: str
    station: str
    features: int
    released_ms: int | None
    units: int = 0
    borrow_s: int | None = None

    @property
    def product(self) -> Product:
        """Firm Code and Product Code."""
        return self.firm_code, self.product_code


class Ledger:
    """Everything that one system's journal says. `network`: a plain licence server, without TMR-Ids."""

    _digest: bytes

    def __init__(self, *, network: bool = False) -> None:
        self.network = network
        self.lines: list[Chained] = []
        """What the last command added to the record."""
        self._promoted: list[Granted] = []
        self.restore(b"")

    # -- the state machine that the quorum drives ----------------------------------------------------------

    def apply(self, index: int, time_ms: int, body: bytes) -> Outcome:
        """Carry out one committed command."""
        self._index, self._time = index, time_ms
        self.lines = []
        self._promoted.clear()
        self._forget(time_ms)
        outcome = self._carry_out(decode(body))
        if self._promoted:
            outcome = msgspec.structs.replace(outcome, promoted=tuple(self._promoted))
        running = hashlib.blake2b(self._digest, digest_size=16)
        running.update(index.to_bytes(8, "big") + time_ms.to_bytes(8, "big"))
        running.update(body)
        running.update(_encoder.encode(outcome))
        for line in self.lines:
            running.update(line.hash)
        self._digest = running.digest()
        return outcome

    def _carry_out(self, command: Any) -> Outcome:
        match command:
            case Grant():
                return self._grant(command)
            case Free():
                return self._free(command)
            case Consume():
                return self._consume(command)
            case Borrow():
                return self._borrow(command)
            case GiveBack():
                return self._give_back(command)
            case Assemble():
                return self._assemble(command)
            case Trust():
                return self._trust(command)
            case SetAccess():
                return self._set_access(command)
            case Note():
                return self._note(command)
        raise AssertionError(f"unknown command {command}")

    def digest(self) -> bytes:
        """Running digest of all commands and outcomes: two ledgers that differ in anything differ here."""
        return self._digest

    def snapshot(self) -> bytes:
        """The whole state."""
        return _encoder.encode(
            Stored(
                self._digest,
                self.trusted,
                self._signed,
                list(self.sessions.values()),
                list(self.borrowings.values()),
                [waiter for queue in self.queues.values() for waiter in queue.values()],
                [Counter(k, self._spent.get(k, 0), self._first_use.get(k)) for k in self._counted()],
                list(self.ended.values()),
                list(self._remembered.values()),
                self.access,
                self.access_version,
                self.heads,
            )
        )

    def restore(self, state: bytes) -> None:
        """Become what `snapshot` wrote; empty bytes: a ledger before its first command."""
        stored = _stored_decoder.decode(state) if state else Stored()
        self._index = self._time = 0
        self.lines = []
        self._promoted.clear()
        self._digest = stored.digest
        self.trusted = dict(stored.trusted)
        self._signed = dict(stored.statements)
        self.access = stored.access
        self.access_version = stored.access_version
        self.heads = dict(stored.heads)
        self._seat_rules: dict[LicenceKey, list[Rule]] = {}
        self.sessions: dict[str, Session] = {}
        self.borrowings: dict[str, Borrowing] = {}
        self.queues: dict[Product, dict[str, Waiter]] = {}
        self.waiting: dict[str, Product] = {}
        """Places in the queues: id → product."""
        self._waiting_requests: dict[tuple[str, str], str] = {}
        self._instances: dict[tuple[str, str, str, int, int], str] = {}
        self._uses: dict[LicenceKey, Use] = {}
        self._due: list[tuple[int, str]] = []
        self._spent = {counter.key: counter.spent for counter in stored.counters}
        self._first_use = {c.key: c.first_use_ms for c in stored.counters if c.first_use_ms is not None}
        self.ended = {ended.session: ended for ended in stored.ended}
        self._remembered = {(r.request.client, r.request.request_id): r for r in stored.remembered}
        for session in stored.sessions:
            self._add_session(session)
        for borrowing in stored.borrowings:
            self._add_borrowing(borrowing)
        for waiter in stored.waiting:
            self._add_waiter(waiter)
        self._merge()

    # -- what the server asks ------------------------------------------------------------------------------

    def use(self, key: LicenceKey) -> Use:
        """How the licence is used now."""
        return self._uses.get(key, Use())

    def holders(self, key: LicenceKey) -> list[Session]:
        """Sessions on the licence, oldest first."""
        return sorted(
            (self.sessions[session] for session in self.use(key).sessions),
            key=lambda session: (session.granted_ms, session.id),
        )

    def borrowed(self, key: LicenceKey) -> list[Borrowing]:
        """Borrowings of the licence, oldest first."""
        return [self.borrowings[borrow] for borrow in self.use(key).borrowings]

    def remaining(self, item: ProductItem) -> int | None:
        """Units that remain of the licence; None: it has no Unit Counter."""
        return None if item.units is None else max(0, item.units - self._spent.get(item.key, 0))

    def first_use_ms(self, key: LicenceKey) -> int | None:
        """When a licence with a Usage Period was used first; None: not yet."""
        return self._first_use.get(key)

    def ends_ms(self, item: ProductItem) -> int | None:
        """When the licence stops being valid, as far as it is known."""
        return validity.ends_ms(item, self._first_use.get(item.key))

    def invalid(self, item: ProductItem, time_ms: int) -> Denied | None:
        """Why nobody can use the licence at `time_ms`, by its own options."""
        return validity.invalid(item, time_ms, self._first_use.get(item.key))

    def position(self, place: str) -> int | None:
        """Position of a place in its queue, 1 is next; None: there is no such place."""
        product = self.waiting.get(place)
        if product is None:
            return None
        return list(self.queues[product]).index(place) + 1

    def due(self, time_ms: int) -> list[str]:
        """Borrowings whose seats come back by themselves at `time_ms`."""
        while self._due and self._due[0][1] not in self.borrowings:
            heapq.heappop(self._due)
        if not self._due or self._due[0][0] > time_ms:
            return []
        return [borrow for at, borrow in sorted(self._due) if at <= time_ms and borrow in self.borrowings]

    def remembered(self, client: str, request_id: str) -> tuple[Request, Outcome] | None:
        """The request that `client` made with this idempotency key, and its outcome."""
        place = self._waiting_requests.get((client, request_id))
        if place is not None:
            waiter = self.queues[self.waiting[place]][place]
            return waiter.grant, Waiting(place, self.position(place) or 0, waiter.since_ms)
        found = self._remembered.get((client, request_id))
        return None if found is None else (found.request, found.outcome)

    def review(self, request: Grant | Borrow, time_ms: int) -> Denied | None:
        """Why `request` would be denied now, without changing anything; None: granted, queued or known."""
        known = self.remembered(request.client, request.request_id)
        if known is not None:
            return None if known[0].asks_the_same(request) else _conflicting_key(request)
        if isinstance(request, Grant) and self._former_of(request) is not None:
            return None  # it replaces what may be in its way
        choice = self._choose(_asked(request), time_ms, self._blocked(_product(request), time_ms))
        if isinstance(choice, ProductItem):
            return None
        if isinstance(request, Grant) and request.wait and choice.queues:
            return None
        return choice.denied

    def reviews(self, request: Grant | Borrow, time_ms: int) -> list[tuple[LicenceKey, Denied | None]]:
        """For each candidate whether it would be given now, or why not. For explanations."""
        asked, blocked = _asked(request), self._blocked(_product(request), time_ms)
        found: list[tuple[LicenceKey, Denied | None]] = []
        for key in asked.keys:
            merged = self.licences.get(key)
            if merged is not None:
                refusal = self._refusal(merged.item, asked, time_ms, blocked)
                found.append((key, refusal.denied if refusal else None))
        return found

    # -- grants --------------------------------------------------------------------------------------------

    def _grant(self, grant: Grant) -> Outcome:
        known = self.remembered(grant.client, grant.request_id)
        if known is not None:
            return known[1] if known[0].asks_the_same(grant) else _conflicting_key(grant)
        if grant.session in self.sessions or grant.session in self.waiting:
            return Denied("conflicting-key", f"session {grant.session} exists already")
        self._promote(_product(grant))
        replaced = self._replace(grant)
        blocked = () if replaced else self._blocked(_product(grant), self._time)
        choice = self._choose(_asked(grant), self._time, blocked)
        outcome: Outcome
        if isinstance(choice, ProductItem):
            outcome = self._begin(grant, choice, replaced)
        elif grant.wait and choice.queues and len(self.waiting) < MAX_WAITING:
            outcome = self._queue(grant)
        else:
            outcome = choice.denied
            self._line_denied(grant, outcome)
        if not isinstance(outcome, Waiting):
            self._remember(grant, outcome)
        if replaced:
            self._promote(_product(grant))
        return outcome

    def _begin(self, grant: Grant, item: ProductItem, replaced: str = "") -> Granted:
        session = Session(
            grant.session,
            grant.client,
            item.key,
            grant.mode,
            grant.ttl,
            grant.station,
            grant.user,
            grant.process,
            self._time,
            grant.address,
            grant.instance,
        )
        self._add_session(session)
        self._used(item)
        if grant.units:
            self._spent[item.key] = self._spent.get(item.key, 0) + grant.units
        self._line_session("emergency" if item.emergency else "granted", session)
        if grant.units:
            self._line_session("units", session, units=grant.units)
        return Granted(
            session.id,
            item.key,
            grant.mode,
            grant.ttl,
            self._time,
            self.use(item.key).seats,
            item.quantity,
            item.emergency,
            self.ends_ms(item),
            self.remaining(item),
            replaced,
        )

    def _used(self, item: ProductItem) -> None:
        """The Usage Period starts with the first use."""
        if item.usage_s is not None:
            self._first_use.setdefault(item.key, self._time)

    def _choose(self, asked: Asked, time_ms: int, blocked: Iterable[LicenceKey]) -> ProductItem | Refusal:
        """The first licence of the product that admits the access, ordinary ones first; or why none does."""
        if len(self.sessions) >= MAX_SESSIONS or len(self.borrowings) >= MAX_BORROWINGS:
            return Refusal(Denied("overloaded", f"{len(self.sessions)} sessions are held"))
        items = [self.licences[key].item for key in asked.keys if key in self.licences]
        items = [item for item in items if _product(item) == asked.product]
        refusals: list[Refusal] = []
        for item in items:
            if item.emergency:
                continue
            refusal = self._refusal(item, asked, time_ms, blocked)
            if refusal is None:
                return item
            refusals.append(refusal)
        # Who may not use the product, or has the wrong version of it, is in no emergency.
        if all(r.denied.reason in _EMERGENCIES and not r.denied.rule for r in refusals):
            for item in items:
                if not item.emergency:
                    continue
                refusal = self._refusal(item, asked, time_ms, blocked)
                if refusal is None:
                    return item
                if not refusals:
                    refusals.append(refusal)
        if not refusals:
            return Refusal(
                Denied("entry-not-found", f"no licence {asked.firm_code}:{asked.product_code} is available")
            )
        # What could still be had by waiting says most.
        return next((refusal for refusal in refusals if refusal.queues), refusals[-1])

    def _refusal(
        self, item: ProductItem, asked: Asked, time_ms: int, blocked: Iterable[LicenceKey]
    ) -> Refusal | None:
        verdict = access.verdict(self.access, item.key, asked.subject)
        if not verdict.allowed:
            return Refusal(
                Denied("access-denied", f"the access rule {verdict.rule!r} does not admit it", verdict.rule)
            )
        final = self.invalid(item, time_ms) or validity.unfit(item, asked.features, asked.released_ms)
        final = final or self._too_few_units(item, asked.units) or self._not_borrowable(item, asked)
        if final is not None:
            return Refusal(final)
        use = self.use(item.key)
        if use.exclusive:
            return Refusal(
                Denied("exclusive-conflict", f"session {use.exclusive} holds {item.key} exclusively"),
                True,
                True,
            )
        if asked.mode == "no-user-limit":
            return None
        if asked.mode == "station-share" and (asked.client, asked.station) in use.stations:
            return None
        if item.key in blocked:
            return Refusal(Denied("no-more-licences", f"others wait for {item.key}, and came before"), True)
        if asked.mode == "exclusive" and not use.idle:
            taken = f"{len(use.sessions)} sessions and {len(use.borrowings)} borrowings are in use"
            return Refusal(Denied("exclusive-conflict", taken), True, True)
        if item.quantity is not None and use.seats >= item.quantity:
            taken = f"{use.seats} of {item.quantity} seats of {item.key} are in use"
            return Refusal(Denied("no-more-licences", taken), True, True)
        return self._seats_refused(item, use, asked.subject)

    def _seats_refused(self, item: ProductItem, use: Use, subject: Subject) -> Refusal | None:
        """What the rules that count seats say against one seat more for the subject."""
        kept = 0
        keeper = ""
        for rule in self._rules_of(item.key):
            taken, seats = use.counts.get(rule.name, 0), rule.seats or 0
            mine = access.matches(self.access, rule.who, subject)
            if rule.effect == "limit" and mine and taken >= seats:
                told = f"the access rule {rule.name!r} admits {seats} seats, and {taken} are in use"
                return Refusal(Denied("access-denied", told, rule.name), True)
            if rule.effect == "reserve" and not mine and taken < seats:
                kept, keeper = kept + seats - taken, keeper or rule.name
        if item.quantity is None or not kept or use.seats + kept < item.quantity:
            return None
        told = (
            f"{use.seats} of {item.quantity} seats of {item.key} are in use, and the access rule {keeper!r} "
            f"keeps {kept} for others"
        )
        return Refusal(Denied("access-denied", told, keeper), True)

    def _too_few_units(self, item: ProductItem, units: int) -> Denied | None:
        if not units:
            return None
        remaining = self.remaining(item)
        if remaining is None:
            return Denied("not-enough-units", f"{item.key} has no Unit Counter")
        if remaining < units:
            return Denied(
                "not-enough-units", f"{units} units are asked for, {remaining} of {item.key} remain"
            )
        return None

    def _not_borrowable(self, item: ProductItem, asked: Asked) -> Denied | None:
        if asked.borrow_s is None:
            return None
        if item.borrow_s is None:
            return Denied("borrow-failed", f"{item.key} cannot be borrowed")
        if asked.borrow_s > item.borrow_s:
            return Denied(
                "borrow-failed",
                f"{item.key} can be borrowed for {item.borrow_s} s, not for {asked.borrow_s} s",
            )
        out = len(self.use(item.key).borrowings)
        if item.borrow_seats is not None and out >= item.borrow_seats:
            return Denied("borrow-failed", f"{out} of {item.borrow_seats} seats of {item.key} are borrowed")
        return None

    # -- one instance of an application --------------------------------------------------------------------

    def _former_of(self, grant: Grant) -> str | None:
        """The session, or place in the queue, that the same instance of the application had."""
        return self._instances.get(_instance(grant)) if grant.instance else None

    def _replace(self, grant: Grant) -> str:
        """End what the instance had: it crashed and asks again. Gives the session that ended, or ""."""
        former = self._former_of(grant)
        if former is None:
            return ""
        if former in self.waiting:
            self._leave_queue(former, "replaced", grant.session)
            return ""
        self._end_session(self.sessions[former], "replaced", grant.session)
        return former

    # -- the queue -----------------------------------------------------------------------------------------

    def _queue(self, grant: Grant) -> Waiting:
        self._add_waiter(Waiter(grant, self._time))
        self._line_grant("queued", grant)
        return Waiting(grant.session, self.position(grant.session) or 0, self._time)

    def _blocked(self, product: Product, time_ms: int) -> set[LicenceKey]:
        """The licences on which somebody waits for a seat: who comes later must not have it first."""
        blocked: set[LicenceKey] = set()
        queue = self.queues.get(product)
        if queue:
            wanted = {key for waiter in queue.values() for key in waiter.grant.keys}
            for waiter in queue.values():
                blocked |= self._blocks(waiter, time_ms, blocked)
                if wanted <= blocked:
                    break
        return blocked

    def _blocks(self, waiter: Waiter, time_ms: int, blocked: set[LicenceKey]) -> set[LicenceKey]:
        asked, found = _asked(waiter.grant), set[LicenceKey]()
        for key in asked.keys:
            merged = self.licences.get(key)
            if merged is None or merged.item.emergency or key in blocked:
                continue
            refusal = self._refusal(merged.item, asked, time_ms, blocked)
            if refusal is not None and refusal.blocks:
                found.add(key)
        return found

    def _promote(self, product: Product) -> None:
        """Give seats that became free to those who wait, first come first served within the access rules."""
        queue = self.queues.get(product)
        if not queue:
            return
        blocked: set[LicenceKey] = set()
        wanted = {key for waiter in queue.values() for key in waiter.grant.keys}
        for place, waiter in list(queue.items()):
            if wanted <= blocked:
                break
            choice = self._choose(_asked(waiter.grant), self._time, blocked)
            if isinstance(choice, ProductItem):
                self._drop_waiter(place)
                granted = self._begin(waiter.grant, choice)
                self._remember(waiter.grant, granted)
                self._promoted.append(granted)
            else:
                blocked |= self._blocks(waiter, self._time, blocked)

    def _leave_queue(self, place: str, by: str, who: str = "") -> None:
        waiter = self._drop_waiter(place)
        grant = waiter.grant
        self._ended(Ended(place, grant.client, None, by, who, self._time))
        self._remember(grant, Denied("session-lost", f"the place in the queue was given up ({by})"))
        self._line_grant("unqueued", grant, reason=by)

    # -- ends ----------------------------------------------------------------------------------------------

    def _free(self, free: Free) -> Outcome:
        product = self.waiting.get(free.session)
        if product is not None:
            client = self.queues[product][free.session].grant.client
            if free.client not in (None, client):
                return Denied("access-denied", "the place in the queue belongs to another client")
            self._leave_queue(free.session, free.by, free.who)
            self._promote(product)
            return Freed(free.session, existed=True)
        session = self.sessions.get(free.session)
        if session is None:
            return Freed(free.session, existed=False)
        if free.client not in (None, session.client):
            return Denied("access-denied", "the session belongs to another client")
        self._end_session(session, free.by, free.who)
        self._promote(_product(session.key))
        return Freed(session.id, existed=True)

    def _end_session(self, session: Session, by: str, who: str) -> None:
        self._remove_session(session)
        self._ended(Ended(session.id, session.client, session.key, by, who, self._time))
        self._line_session(_ENDS[by], session, reason=who)

    # -- units ---------------------------------------------------------------------------------------------

    def _consume(self, consume: Consume) -> Outcome:
        known = self.remembered(consume.client, consume.request_id)
        if known is not None:
            return known[1] if known[0].asks_the_same(consume) else _conflicting_key(consume)
        outcome = self._take_units(consume)
        self._remember(consume, outcome)
        return outcome

    def _take_units(self, consume: Consume) -> Outcome:
        session = self.sessions.get(consume.session)
        if session is None or session.client != consume.client:
            return Denied("session-lost", f"there is no session {consume.session} of this client")
        merged = self.licences.get(session.key)
        if merged is None:
            return Denied("licence-unavailable", f"{session.key} is not available")
        denied = self.invalid(merged.item, self._time) or self._too_few_units(merged.item, consume.units)
        if denied is not None:
            self._line_session("denied", session, units=consume.units, reason=denied.reason)
            return denied
        self._spent[session.key] = self._spent.get(session.key, 0) + consume.units
        self._line_session("units", session, units=consume.units)
        remaining = self.remaining(merged.item)
        assert remaining is not None  # noqa: S101
        return Consumed(session.id, session.key, consume.units, remaining)

    # -- borrowing -----------------------------------------------------------------------------------------

    def _borrow(self, borrow: Borrow) -> Outcome:
        known = self.remembered(borrow.client, borrow.request_id)
        if known is not None:
            return known[1] if known[0].asks_the_same(borrow) else _conflicting_key(borrow)
        if borrow.borrow in self.borrowings:
            return Denied("conflicting-key", f"borrowing {borrow.borrow} exists already")
        self._promote(_product(borrow))
        blocked = self._blocked(_product(borrow), self._time)
        choice = self._choose(_asked(borrow), self._time, blocked)
        outcome: Outcome
        if isinstance(choice, ProductItem):
            outcome = self._lend(borrow, choice)
        else:
            outcome = choice.denied
            self._line_denied(borrow, outcome)
        self._remember(borrow, outcome)
        return outcome

    def _lend(self, borrow: Borrow, item: ProductItem) -> Borrowed:
        self._used(item)
        until = self._time + borrow.seconds * 1000
        ends = self.ends_ms(item)
        borrowing = Borrowing(
            borrow.borrow,
            borrow.client,
            item.key,
            borrow.borrower,
            borrow.station,
            borrow.user,
            borrow.address,
            self._time,
            until if ends is None else min(until, ends),
        )
        self._add_borrowing(borrowing)
        self._line_borrowing("borrowed", borrowing)
        return Borrowed(
            borrowing.id,
            item.key,
            self._time,
            borrowing.until_ms,
            self.use(item.key).seats,
            item.quantity,
        )

    def _give_back(self, back: GiveBack) -> Outcome:
        borrowing = self.borrowings.get(back.borrow)
        if borrowing is None:
            return GivenBack(back.borrow, existed=False)
        if back.client not in (None, borrowing.client):
            return Denied("access-denied", "the borrowing belongs to another client")
        self._remove_borrowing(borrowing)
        self._line_borrowing("returned", borrowing, reason=back.by, detail=back.who)
        self._promote(_product(borrowing.key))
        return GivenBack(back.borrow, existed=True)

    # -- access rules --------------------------------------------------------------------------------------

    def _set_access(self, command: SetAccess) -> Outcome:
        if command.version == self.access_version - 1 and command.access == self.access:
            return AccessSet(self.access_version)  # a retry, or another operator with the same list
        if command.version != self.access_version:
            return Denied(
                "access-list-changed",
                f"the access list is at version {self.access_version}, not at {command.version}",
            )
        self.access = command.access
        self.access_version += 1
        self._seat_rules = {}
        for key, use in self._uses.items():
            use.counts = {}
            for subject in use.subjects():
                self._count(key, use, subject, +1)
        for product in list(self.queues):
            self._promote(product)
        return AccessSet(self.access_version)

    def _rules_of(self, key: LicenceKey) -> list[Rule]:
        rules = self._seat_rules.get(key)
        if rules is None:
            rules = self._seat_rules[key] = access.seat_rules(self.access, key)
        return rules

    def _count(self, key: LicenceKey, use: Use, subject: Subject, by: int) -> None:
        for rule in self._rules_of(key):
            if access.matches(self.access, rule.who, subject):
                use.counts[rule.name] = use.counts.get(rule.name, 0) + by

    # -- the record ----------------------------------------------------------------------------------------

    def _note(self, note: Note) -> Outcome:
        for refusal in note.refusals:
            self._line(
                refusal.firm_code,
                event="denied",
                product_code=refusal.product_code,
                client=refusal.client,
                user=refusal.user,
                station=refusal.station,
                address=refusal.address,
                count=refusal.count,
                reason=refusal.reason,
                detail=refusal.detail,
            )
        return Noted()

    def _line(self, firm_code: int, **values: Any) -> None:
        head = self.heads.get(firm_code, Head())
        line = Line(firm_code, head.seq + 1, self._time, self._index, **values)
        chained = chain(head, line)
        self.heads[firm_code] = Head(chained.seq, chained.hash)
        self.lines.append(chained)

    def _line_session(self, event: Event, session: Session, **values: Any) -> None:
        self._line(
            session.key.firm_code,
            event=event,
            product_code=session.key.product_code,
            tmr_id=session.key.tmr_id,
            reference=session.key.reference,
            id=session.id,
            client=session.client,
            user=session.user,
            station=session.station,
            address=session.address,
            mode=session.mode,
            **values,
        )

    def _line_grant(self, event: Event, grant: Grant, **values: Any) -> None:
        self._line(
            grant.firm_code,
            event=event,
            product_code=grant.product_code,
            id=grant.session,
            client=grant.client,
            user=grant.user,
            station=grant.station,
            address=grant.address,
            mode=grant.mode,
            **values,
        )

    def _line_denied(self, request: Grant | Borrow, denied: Denied) -> None:
        self._line(
            request.firm_code,
            event="denied",
            product_code=request.product_code,
            client=request.client,
            user=request.user,
            station=request.station,
            address=request.address,
            reason=denied.reason,
            detail=denied.detail,
        )

    def _line_borrowing(self, event: Event, borrowing: Borrowing, **values: Any) -> None:
        self._line(
            borrowing.key.firm_code,
            event=event,
            product_code=borrowing.key.product_code,
            tmr_id=borrowing.key.tmr_id,
            reference=borrowing.key.reference,
            id=borrowing.id,
            client=borrowing.client,
            user=borrowing.user,
            station=borrowing.station,
            address=borrowing.address,
            until_ms=borrowing.until_ms,
            **values,
        )

    # -- what is remembered --------------------------------------------------------------------------------

    def _remember(self, request: Request, outcome: Outcome) -> None:
        key = (request.client, request.request_id)
        self._remembered.pop(key, None)  # the newest stand last
        self._remembered[key] = Remembered(request, outcome, self._time)

    def _ended(self, ended: Ended) -> None:
        self.ended[ended.session] = ended

    def _forget(self, time_ms: int) -> None:
        while self._remembered:
            oldest = next(iter(self._remembered))
            recent = self._remembered[oldest].time_ms > time_ms - REMEMBER_MS
            if recent and len(self._remembered) < MAX_REMEMBERED:
                break
            del self._remembered[oldest]
        while self.ended:
            first = next(iter(self.ended))
            recent = self.ended[first].time_ms > time_ms - ENDED_MS
            if recent and len(self.ended) < MAX_ENDED:
                break
            del self.ended[first]

    # -- keeping the indexes -------------------------------------------------------------------------------

    def _counted(self) -> list[LicenceKey]:
        return sorted({*self._spent, *self._first_use})

    def _use(self, key: LicenceKey) -> Use:
        return self._uses.setdefault(key, Use())

    def _add_session(self, session: Session) -> None:
        self.sessions[session.id] = session
        use = self._use(session.key)
        use.add(session, lambda subject, by: self._count(session.key, use, subject, by))
        if session.instance:
            self._instances[_instance_of(session)] = session.id

    def _remove_session(self, session: Session) -> None:
        del self.sessions[session.id]
        use = self._uses[session.key]
        use.remove(session, lambda subject, by: self._count(session.key, use, subject, by))
        if use.idle:
            del self._uses[session.key]
        if session.instance and self._instances.get(_instance_of(session)) == session.id:
            del self._instances[_instance_of(session)]

    def _add_borrowing(self, borrowing: Borrowing) -> None:
        self.borrowings[borrowing.id] = borrowing
        heapq.heappush(self._due, (borrowing.until_ms + BORROW_GRACE_MS, borrowing.id))
        use = self._use(borrowing.key)
        use.lend(borrowing, lambda subject, by: self._count(borrowing.key, use, subject, by))

    def _remove_borrowing(self, borrowing: Borrowing) -> None:
        del self.borrowings[borrowing.id]
        use = self._uses[borrowing.key]
        use.take_back(borrowing, lambda subject, by: self._count(borrowing.key, use, subject, by))
        if use.idle:
            del self._uses[borrowing.key]

    def _add_waiter(self, waiter: Waiter) -> None:
        grant = waiter.grant
        self.queues.setdefault(_product(grant), {})[grant.session] = waiter
        self.waiting[grant.session] = _product(grant)
        self._waiting_requests[grant.client, grant.request_id] = grant.session
        if grant.instance:
            self._instances[_instance(grant)] = grant.session

    def _drop_waiter(self, place: str) -> Waiter:
        product = self.waiting.pop(place)
        waiter = self.queues[product].pop(place)
        if not self.queues[product]:
            del self.queues[product]
        grant = waiter.grant
        del self._waiting_requests[grant.client, grant.request_id]
        if grant.instance and self._instances.get(_instance(grant)) == place:
            del self._instances[_instance(grant)]
        return waiter

    # -- containers ----------------------------------------------------------------------------------------

    def _trust(self, trust: Trust) -> Outcome:
        self.trusted[trust.upstream] = trust.key
        self._signed.pop(trust.upstream, None)
        return self._merged_anew(())

    def _assemble(self, assemble: Assemble) -> Outcome:
        rejected = [
            f"{refusal}" for signed in assemble.statements if (refusal := self._accept(signed)) is not None
        ]
        return self._merged_anew(rejected)

    def _accept(self, signed: SignedStatement) -> str | None:
        """Believe a container's statement; or why not. The first key of an upstream is the one to stay."""
        try:
            statement = open_statement(signed, signed.key)
            trusted = self.trusted.get(statement.upstream, signed.key)
            if trusted != signed.key:
                return f"{statement.upstream}: another container than before; an operator must trust it"
        except BadStatement as error:
            return str(error)
        others = [s for name, s in self.statements.items() if name != statement.upstream]
        if any(other.act_id != statement.act_id for other in others):
            return f"{statement.upstream}: CmActId {statement.act_id} is not the one of the other containers"
        if any(other.container == statement.container for other in others):
            return f"{statement.upstream}: container {statement.container} is already another upstream's"
        known = self.statements.get(statement.upstream)
        if known is not None and statement.generation < known.generation:
            return f"{statement.upstream}: generation {statement.generation} is older than {known.generation}"
        self.trusted[statement.upstream] = signed.key
        self._signed[statement.upstream] = signed
        self.statements[statement.upstream] = statement
        return None

    def _merged_anew(self, rejected: Iterable[str]) -> Assembled:
        before = dict(self.licences)
        self._merge()
        keys = sorted({*before, *self.licences})
        changed = tuple(key for key in keys if before.get(key) != self.licences.get(key))
        for product in list(self.queues):
            self._promote(product)
        return Assembled(changed, tuple(rejected))

    def _merge(self) -> None:
        self.statements: dict[str, Statement] = {
            upstream: open_statement(signed, self.trusted[upstream])
            for upstream, signed in sorted(self._signed.items())
        }
        if self.network and len(self.statements) == 1:
            self.merged = alone(next(iter(self.statements.values())))
        else:
            self.merged = merge(self.statements.values())
        self.licences: dict[LicenceKey, MergedLicence] = {
            licence.item.key: licence for licence in self.merged.licences
        }


_EMERGENCIES: Final = frozenset(
    {"no-more-licences", "exclusive-conflict", "licence-expired", "licence-not-active", "not-enough-units"}
)
"""Why an ordinary licence may be missing, so that an emergency licence takes its place."""

_ENDS: Final[dict[str, Event]] = {
    "release": "released",
    "expiry": "expired",
    "operator": "ended",
    "replaced": "replaced",
}


def _product(of: Any) -> Product:
    return of.firm_code, of.product_code


def _instance(grant: Grant) -> tuple[str, str, str, int, int]:
    return grant.client, grant.station, grant.instance, grant.firm_code, grant.product_code


def _instance_of(session: Session) -> tuple[str, str, str, int, int]:
    key = session.key
    return session.client, session.station, session.instance, key.firm_code, key.product_code


def _asked(request: Grant | Borrow) -> Asked:
    subject = Subject(request.user, request.station, request.client, request.address)
    asked = Asked(
        request.firm_code,
        request.product_code,
        request.keys,
        subject,
        "user-limit",
        request.client,
        request.station,
        request.features,
        request.released_ms,
    )
    if isinstance(request, Borrow):
        return msgspec.structs.replace(asked, borrow_s=request.seconds)
    return msgspec.structs.replace(asked, mode=request.mode, units=request.units)


def _conflicting_key(request: Request) -> Denied:
    return Denied("conflicting-key", f"idempotency key {request.request_id} was used for another request")
