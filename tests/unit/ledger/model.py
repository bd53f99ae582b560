# SPDX-License-Identifier: Apache-2.0
"""A ledger in the most obvious way: lists that are searched from the start, and nothing remembered twice.

Written from the rules, not from the production ledger, of which it knows only commands, outcomes and items.
It knows a whole world of names, so that rules of access lists compare them without patterns.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tmr.ledger import (
    AccessList,
    AccessSet,
    Borrow,
    Borrowed,
    Consume,
    Consumed,
    Denied,
    Free,
    Freed,
    GiveBack,
    GivenBack,
    Grant,
    Granted,
    Outcome,
    SetAccess,
    Waiting,
)
from tmr.licensing import LicenceKey, ProductItem

FORGOTTEN_MS = 600_000
STEP_MS = 1_000
"""Outcomes grow older by so much from one command to the next, at most."""
MISSING = {
    "no-more-licences",
    "exclusive-conflict",
    "licence-expired",
    "licence-not-active",
    "not-enough-units",
}


class Held:
    """A session."""

    def __init__(self, grant: Grant, key: LicenceKey, named: bool) -> None:
        self.grant, self.key, self.named = grant, key, named

    @property
    def shared(self) -> tuple[str, ...] | None:
        """The seat that it shares with others; None: one of its own, if any."""
        return seat_shared(self.grant, self.named)


class Lent:
    """A borrowing."""

    def __init__(self, borrow: Borrow, key: LicenceKey) -> None:
        self.borrow, self.key = borrow, key


class Kept:
    """A seat that its former holder can have again until `until_ms`."""

    def __init__(self, held: Held, until_ms: int) -> None:
        self.grant, self.key, self.named, self.until_ms = held.grant, held.key, held.named, until_ms

    def is_for(self, grant: Grant) -> bool:
        if self.key not in grant.keys or grant.mode == "no-user-limit":
            return False
        who = ("user",) if self.named else ("client", "station", "user")
        return all(getattr(self.grant, name) == getattr(grant, name) for name in who)


class Waits:
    """A place in the queue."""

    def __init__(self, grant: Grant, since_ms: int) -> None:
        self.grant, self.since_ms = grant, since_ms


class No:
    """Why not. `later`: waiting may help. `held`: licences that nobody else may enter meanwhile."""

    def __init__(self, reason: str, rule: str = "", later: bool = False, held: Any = ()) -> None:
        self.reason, self.rule, self.later, self.held = reason, rule, later, set(held)

    def told(self) -> Denied:
        return Denied(self.reason, "", self.rule)  # type: ignore[arg-type]


class Model:
    """See the module."""

    def __init__(self) -> None:
        self.now = self.age = 0
        self.items: dict[LicenceKey, ProductItem] = {}
        self.sessions: list[Held] = []
        self.loans: list[Lent] = []
        self.queue: list[Waits] = []
        self.kept: list[Kept] = []
        self.units: dict[LicenceKey, int] = {}
        self.first_use: dict[LicenceKey, int] = {}
        self.answers: list[tuple[Any, Outcome, int]] = []
        self.access = AccessList()
        self.version = 0
        self.promoted: list[Granted] = []

    # -- commands ------------------------------------------------------------------------------------------

    def apply(self, time_ms: int, command: Any) -> Outcome:
        """The outcome that the ledger should give, details for people left out."""
        self._later(time_ms)
        self.settle()
        outcome = self._carry_out(command)
        self.settle()
        return outcome

    def update(self, time_ms: int, items: dict[LicenceKey, ProductItem]) -> dict[LicenceKey, int]:
        """The containers hold other licences; the seats that were taken of each one before."""
        self._later(time_ms)
        self.settle()
        taken = {key: self.seats(key) for key in self.items}
        self.items = items
        self.settle()
        return taken

    def _later(self, time_ms: int) -> None:
        self.age += min(time_ms - self.now, STEP_MS)
        self.now, self.promoted = time_ms, []
        self.answers = [a for a in self.answers if a[2] > self.age - FORGOTTEN_MS]
        self.kept = [kept for kept in self.kept if kept.until_ms > time_ms]

    def _carry_out(self, command: Any) -> Outcome:
        match command:
            case Grant():
                return self._once(command, self._grant)
            case Borrow():
                return self._once(command, self._borrow)
            case Consume():
                return self._once(command, self._consume)
            case Free():
                return self._free(command)
            case GiveBack():
                return self._give_back(command)
            case SetAccess():
                if command.version == self.version:
                    self.access, self.version = command.access, self.version + 1
                elif command.version != self.version - 1 or command.access != self.access:
                    return Denied("access-list-changed", "")
                return AccessSet(self.version)
        raise AssertionError(command)

    def known(self, client: str, request_id: str) -> tuple[Any, Outcome] | None:
        for waits in self.queue:
            if (waits.grant.client, waits.grant.request_id) == (client, request_id):
                return waits.grant, Waiting(waits.grant.session, self.position(waits), waits.since_ms)
        for request, outcome, _ in reversed(self.answers):
            if (request.client, request.request_id) == (client, request_id):
                return request, outcome
        return None

    def _once(self, request: Any, carry_out: Any) -> Outcome:
        known = self.known(request.client, request.request_id)
        if known is not None and not same(known[0], request):
            return Denied("conflicting-key", "")
        if known is not None and isinstance(known[1], Waiting):
            waits = next(w for w in self.queue if w.grant.session == known[1].session)
            waits.grant = replace(waits.grant, keys=request.keys)
            self.settle()
            known = self.known(request.client, request.request_id)
            if known is not None and isinstance(known[1], Waiting) and not request.wait:
                choice = self.choose(waits.grant, self.held_back(product(waits.grant)))
                assert isinstance(choice, No), "nobody waits who could have a seat"
                self._leave(waits, choice.told())
                return choice.told()
        if known is not None:
            return known[1]
        outcome: Outcome = carry_out(request)
        passing = isinstance(outcome, Denied) and outcome.reason == "licence-unavailable"
        if not isinstance(outcome, Waiting) and not passing:
            self.answers.append((request, outcome, self.age))
        return outcome

    def _grant(self, grant: Grant) -> Outcome:
        replaced, keeps = self._replace(grant)
        choice = self.choose_kept(grant, self.held_back(product(grant)) - {keeps})
        if isinstance(choice, ProductItem):
            return self.begin(grant, choice, replaced)
        if grant.wait and choice.later:
            self.queue.append(Waits(grant, self.now))
            return Waiting(grant.session, self.position(self.queue[-1]), self.now)
        return choice.told()

    def choose_kept(self, grant: Grant, held_back: set[LicenceKey]) -> ProductItem | No:
        """As `choose`, where the own seat that is kept is free, and comes first. It is taken, or stays."""
        own = [kept for kept in self.kept if kept.is_for(grant) and product(kept.grant) == product(grant)]
        if not own:
            return self.choose(grant, held_back)
        first = min(own, key=lambda kept: (kept.until_ms, kept.grant.session))
        self.kept.remove(first)
        keys = (first.key, *(key for key in grant.keys if key != first.key))
        choice = self.choose(replace(grant, keys=keys), held_back - {first.key})
        if not isinstance(choice, ProductItem) or choice.key != first.key:
            self.kept.append(first)
        return choice

    def _replace(self, grant: Grant) -> tuple[str, LicenceKey | None]:
        for held in self.sessions:
            if grant.instance and place(held.grant) == place(grant):
                self.sessions.remove(held)
                if held.grant.mode == grant.mode:
                    return held.grant.session, held.key
                self.settle()
                return held.grant.session, None
        for waits in self.queue:
            if grant.instance and place(waits.grant) == place(grant):
                self._leave(waits, Denied("session-lost", ""))
                self.settle()
                break
        return "", None

    def begin(self, grant: Grant, item: ProductItem, replaced: str = "") -> Granted:
        self.sessions.append(Held(grant, item.key, item.named_user))
        if item.usage_s is not None:
            self.first_use.setdefault(item.key, self.now)
        self.units[item.key] = self.units.get(item.key, 0) + grant.units
        return Granted(
            session=grant.session,
            key=item.key,
            mode=grant.mode,
            ttl=grant.ttl,
            granted_ms=self.now,
            in_use=self.seats(item.key),
            quantity=item.quantity,
            emergency=item.emergency,
            ends_ms=self.ends(item),
            remaining=self.remaining(item),
            replaced=replaced,
        )

    def _leave(self, waits: Waits, told: Denied) -> None:
        self.queue.remove(waits)
        self.answers.append((waits.grant, told, self.age))

    def _free(self, free: Free) -> Outcome:
        for waits in self.queue:
            if waits.grant.session == free.session:
                if free.client not in (None, waits.grant.client):
                    return Denied("access-denied", "")
                self._leave(waits, Denied("session-lost", ""))
                return Freed(free.session, existed=True)
        for held in self.sessions:
            if held.grant.session == free.session:
                if free.client not in (None, held.grant.client):
                    return Denied("access-denied", "")
                seats = self.seats(held.key)
                self.sessions.remove(held)
                item = self.items.get(held.key)
                if item and item.linger_s and self.seats(held.key) < seats:
                    self.kept.append(Kept(held, self.now + item.linger_s * 1000))
                return Freed(free.session, existed=True)
        return Freed(free.session, existed=False)

    def _consume(self, consume: Consume) -> Outcome:
        for held in self.sessions:
            if (held.grant.session, held.grant.client) == (consume.session, consume.client):
                if held.key not in self.items:
                    return Denied("licence-unavailable", "")
                item = self.items[held.key]
                no = self.by_time(item) or self.by_units(item, consume.units)
                if no is not None:
                    return no.told()
                self.units[held.key] = self.units.get(held.key, 0) + consume.units
                return Consumed(consume.session, held.key, consume.units, self.remaining(item) or 0)
        return Denied("session-lost", "")

    def _borrow(self, borrow: Borrow) -> Outcome:
        choice = self.choose(borrow, self.held_back(product(borrow)))
        if isinstance(choice, No):
            return choice.told()
        if choice.usage_s is not None:
            self.first_use.setdefault(choice.key, self.now)
        until, ends = self.now + borrow.seconds * 1000, self.ends(choice)
        if ends is not None and ends < until:
            until = ends
        self.loans.append(Lent(borrow, choice.key))
        seats = self.seats(choice.key)
        return Borrowed(borrow.borrow, choice.key, self.now, until, seats, choice.quantity)

    def _give_back(self, back: GiveBack) -> Outcome:
        for lent in self.loans:
            if lent.borrow.borrow == back.borrow:
                if back.client not in (None, lent.borrow.client):
                    return Denied("access-denied", "")
                self.loans.remove(lent)
                return GivenBack(back.borrow, existed=True)
        return GivenBack(back.borrow, existed=False)

    # -- the queue -----------------------------------------------------------------------------------------

    def position(self, waits: Waits) -> int:
        ahead = [w for w in self.queue if product(w.grant) == product(waits.grant)]
        return ahead.index(waits) + 1

    def held_back(self, wanted: tuple[int, int]) -> set[LicenceKey]:
        """Licences that somebody waits to hold alone."""
        found: set[LicenceKey] = set()
        for waits in self.queue:
            if product(waits.grant) == wanted:
                choice = self.choose(waits.grant, found)
                if isinstance(choice, No):
                    found |= choice.held
        return found

    def settle(self) -> None:
        """Through each queue from the start, until nobody gets anything any more."""
        for one in sorted({product(waits.grant) for waits in self.queue}):
            while self._pass(one):
                pass

    def _pass(self, one: tuple[int, int]) -> bool:
        found: set[LicenceKey] = set()
        anybody = False
        for waits in [w for w in self.queue if product(w.grant) == one]:
            choice = self.choose_kept(waits.grant, found)
            if isinstance(choice, ProductItem):
                self.queue.remove(waits)
                granted = self.begin(waits.grant, choice)
                self.answers.append((waits.grant, granted, self.age))
                self.promoted.append(granted)
                anybody = True
            elif choice.later or choice.reason == "entry-not-found":
                found |= choice.held
            else:
                self._leave(waits, choice.told())
        return anybody

    # -- who gets what -------------------------------------------------------------------------------------

    def choose(self, asked: Grant | Borrow, held_back: set[LicenceKey]) -> ProductItem | No:
        items = [self.items[key] for key in asked.keys if key in self.items]
        nos = []
        for item in items:
            if not item.emergency:
                no = self.refusal(item, asked, held_back)
                if no is None:
                    return item
                nos.append(no)
        if all(no.reason in MISSING and not no.rule for no in nos):
            for item in items:
                if item.emergency:
                    no = self.refusal(item, asked, held_back)
                    if no is None:
                        return item
                    nos.append(no)
        if not nos:
            return No("entry-not-found")
        most = [no for no in nos if no.later] or nos
        return No(most[0].reason, most[0].rule, most[0].later, [key for no in nos for key in no.held])

    def refusal(self, item: ProductItem, asked: Grant | Borrow, held_back: set[LicenceKey]) -> No | None:
        key, who = item.key, person(asked)
        borrows = isinstance(asked, Borrow)
        mode = "user-limit" if isinstance(asked, Borrow) else asked.mode
        no = self.by_list(who) or self.by_time(item) or self.by_version(item, asked)
        no = no or self.by_units(item, 0 if isinstance(asked, Borrow) else asked.units)
        if no is None and borrows:
            no = self.by_lending(item, asked)
        if no is not None:
            return no
        mine = [held for held in self.sessions if held.key == key]
        lent = [lent for lent in self.loans if lent.key == key]
        seat = None if isinstance(asked, Borrow) else seat_shared(asked, item.named_user)
        joins = seat is not None and any(held.shared == seat for held in mine)
        needs_seat = mode != "no-user-limit" and not joins
        others = [rule for rule in self.access.rules if rule.effect == "reserve" and not matches(rule, who)]
        if needs_seat:
            all_kept = sum(rule.seats or 0 for rule in others)
            if others and (mode == "exclusive" or (item.quantity and all_kept >= item.quantity)):
                return No("access-denied", others[0].name)
            for rule in self.access.rules:
                limits = rule.effect == "limit" and matches(rule, who)
                if limits and self.counted(key, rule) >= (rule.seats or 0):
                    return No("access-denied", rule.name, later=True)
        if any(held.grant.mode == "exclusive" for held in mine) or key in held_back:
            return No("exclusive-conflict", later=True)
        if not needs_seat:
            return None
        if mode == "exclusive" and (mine or lent or any(kept.key == key for kept in self.kept)):
            return No("exclusive-conflict", later=True, held=[key])
        if item.quantity is None:
            return None
        if self.seats(key) >= item.quantity:
            return No("no-more-licences", later=True)
        kept = [(rule, (rule.seats or 0) - self.counted(key, rule)) for rule in others]
        kept = [(rule, seats) for rule, seats in kept if seats > 0]
        if kept and self.seats(key) + sum(seats for _, seats in kept) >= item.quantity:
            return No("access-denied", kept[0][0].name, later=True)
        return None

    def by_list(self, who: tuple[str, str]) -> No | None:
        allows = [rule for rule in self.access.rules if rule.effect == "allow"]
        for rule in self.access.rules:
            if rule.effect in ("allow", "deny") and matches(rule, who):
                return None if rule.effect == "allow" else No("access-denied", rule.name)
        return No("access-denied", allows[0].name) if allows else None

    def by_time(self, item: ProductItem) -> No | None:
        if item.activation_ms is not None and self.now < item.activation_ms:
            return No("licence-not-active")
        ends = self.ends(item)
        return No("licence-expired") if ends is not None and self.now >= ends else None

    def by_version(self, item: ProductItem, asked: Grant | Borrow) -> No | None:
        if asked.features & item.feature_map != asked.features:
            return No("feature-missing")
        released, end = asked.released_ms, item.maintenance_end_ms
        late = released is not None and end is not None and released >= end
        return No("maintenance-ended") if late else None

    def by_units(self, item: ProductItem, units: int) -> No | None:
        return No("not-enough-units") if units and units > (self.remaining(item) or 0) else None

    def by_lending(self, item: ProductItem, asked: Any) -> No | None:
        out = sum(lent.key == item.key for lent in self.loans)
        if item.borrow_s is None or asked.seconds > item.borrow_s:
            return No("borrow-failed")
        return No("borrow-failed") if item.borrow_seats is not None and out >= item.borrow_seats else None

    # -- counting ------------------------------------------------------------------------------------------

    def holders(self, key: LicenceKey) -> list[tuple[str, str]]:
        """User and host that each seat taken counts for."""
        found = []
        shared: set[tuple[str, ...]] = set()
        for held in self.sessions:
            if held.key != key or held.grant.mode == "no-user-limit" or held.shared in shared:
                continue
            if held.shared is not None:
                shared.add(held.shared)
            found.append(person(held.grant))
        found += [person(kept.grant) for kept in self.kept if kept.key == key]
        return found + [person(lent.borrow) for lent in self.loans if lent.key == key]

    def seats(self, key: LicenceKey) -> int:
        return len(self.holders(key))

    def counted(self, key: LicenceKey, rule: Any) -> int:
        return sum(matches(rule, who) for who in self.holders(key))

    def ends(self, item: ProductItem) -> int | None:
        ends = [] if item.expiration_ms is None else [item.expiration_ms]
        if item.usage_s is not None and item.key in self.first_use:
            ends.append(self.first_use[item.key] + item.usage_s * 1000)
        return min(ends) if ends else None

    def remaining(self, item: ProductItem) -> int | None:
        return None if item.units is None else max(0, item.units - self.units.get(item.key, 0))


def product(asked: Grant | Borrow) -> tuple[int, int]:
    return asked.firm_code, asked.product_code


def seat_shared(grant: Grant, named: bool) -> tuple[str, ...] | None:
    """The seat that all sessions of a named user, or of a station, have together."""
    if grant.mode in ("no-user-limit", "exclusive"):
        return None
    if named:
        return ("user", grant.user)
    return ("station", grant.client, grant.station) if grant.mode == "station-share" else None


def place(grant: Grant) -> tuple[Any, ...]:
    return (grant.client, grant.station, grant.instance, grant.firm_code, grant.product_code)


def person(asked: Grant | Borrow) -> tuple[str, str]:
    return asked.user, asked.station


def matches(rule: Any, who: tuple[str, str]) -> bool:
    return (not rule.who.users or who[0] in rule.who.users) and (
        not rule.who.hosts or who[1] in rule.who.hosts
    )


def same(one: Any, other: Any) -> bool:
    """Whether a client asked for the same twice: what the server adds may differ."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Consume):
        return bool(one == other)
    added: dict[str, Any] = {"keys": (), "address": ""}
    added |= {"borrow": ""} if isinstance(one, Borrow) else {"session": "", "wait": False}
    return bool(replace(one, **added) == replace(other, **added))
