# SPDX-License-Identifier: Apache-2.0
"""The choice of the licence for an access, or the reason why there is none. Changes nothing."""

import math
from collections.abc import Collection, Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from tmr.ledger import validity
from tmr.ledger.access import Subject
from tmr.ledger.commands import AccessMode, Borrow, Grant
from tmr.ledger.containers import Containers
from tmr.ledger.outcomes import Denied
from tmr.ledger.seats import Seats
from tmr.ledger.state import Lingering, Product
from tmr.ledger.usage_counters import UsageCounters
from tmr.ledger.use import SeatUse, shared_seat
from tmr.licensing import LicenceKey, ProductItem
from tmr.licensing.spelling import counted, exact_period

MAX_SESSIONS: Final = 200_000
"""Sessions that one system holds; beyond, requests are denied."""
MAX_SESSIONS_OF_CLIENT: Final = MAX_SESSIONS // 2
"""Sessions of one client: others may work, too."""
MAX_BORROWINGS: Final = 50_000
"""Borrowings that are out at a time; beyond, requests are denied."""
MAX_BORROWINGS_OF_CLIENT: Final = MAX_BORROWINGS // 2
"""Borrowings of one client."""

MAX_SESSIONS_SIZE: Final = 64 * 2**20
"""Bytes that all sessions may take in a snapshot, half of it those of one client: 200,000 of 335 bytes."""
MAX_BORROWINGS_SIZE: Final = 16 * 2**20
"""The same of borrowings."""

_EMERGENCIES: Final = frozenset(
    {"no-more-licences", "exclusive-conflict", "licence-expired", "licence-not-active", "not-enough-units"}
)
"""Reason why an ordinary licence may be missing, so that an emergency licence takes its place."""


class Denial(msgspec.Struct, frozen=True):
    """Choice of a licence, or of none. `queues`: it may be given later, so that waiting makes sense.

    `blocks`: licences that are kept from all later requests, or no client could ever hold them alone.
    """

    denied: Denied
    queues: bool = False
    blocks: frozenset[LicenceKey] = frozenset()


class LicenceQuery(msgspec.Struct, frozen=True):
    """Common part of `Grant` and `Borrow` for the choice of a licence."""

    product: Product
    keys: tuple[LicenceKey, ...]
    subject: Subject
    mode: AccessMode
    client: str
    station: str
    features: int
    released_ms: int | None
    units: int = 0
    borrow_s: int | None = None

    @classmethod
    def by(cls, request: Grant | Borrow) -> "LicenceQuery":
        """Query that this request makes."""
        grant = request if isinstance(request, Grant) else None
        return cls(
            request.product,
            request.keys,
            Subject(request.user, request.station, request.client, request.address),
            "user-limit" if grant is None else grant.mode,
            request.client,
            request.station,
            request.features,
            request.released_ms,
            0 if grant is None else grant.units,
            request.seconds if isinstance(request, Borrow) else None,
        )


class LicenceChooser:
    """Choice of a licence for a request, by the rules above."""

    def __init__(self, containers: Containers, seats: Seats, usage: UsageCounters) -> None:
        self._containers, self._seats, self._usage = containers, seats, usage

    def choose(
        self, asked: LicenceQuery, time_ms: int, blocked: Collection[LicenceKey]
    ) -> ProductItem | Denial:
        """The first licence of the product that admits the access, ordinary ones first; or why none does.

        `blocked`: licences that an earlier request waits to hold alone.
        """
        if too_many := self.too_many(asked.client, borrowings=asked.borrow_s is not None):
            return Denial(Denied("overloaded", too_many))
        licences = self._containers.licences
        items = [licences[key].item for key in asked.keys if key in licences]
        items = [item for item in items if (item.firm_code, item.product_code) == asked.product]
        refusals: list[Denial] = []
        for emergency in (False, True):
            # Who may not use the product, or has the wrong version of it, is in no emergency.
            if emergency and any(r.denied.rule or r.denied.reason not in _EMERGENCIES for r in refusals):
                break
            for item in items:
                if item.emergency is not emergency:
                    continue
                refusal = self.refusal(item, asked, time_ms, blocked)
                if refusal is None:
                    return item
                refusals.append(refusal)
        if not refusals:
            firm_code, product_code = asked.product
            return Denial(Denied("entry-not-found", f"no licence {firm_code}:{product_code} is available"))
        # What could still be had by waiting says most; then, what is wrong with the ordinary licences.
        most = next((refusal for refusal in refusals if refusal.queues), refusals[0])
        return Denial(most.denied, most.queues, frozenset().union(*(r.blocks for r in refusals)))

    def choose_again(
        self, grant: Grant, time_ms: int, blocked: Collection[LicenceKey]
    ) -> tuple[ProductItem | Denial, Lingering | None]:
        """The same for a session, and the kept seat of its holder that it takes if the choice is a licence.

        That seat comes before all others, and before who waits to hold the licence alone.
        """
        kept = self._seats.lingering_for(grant)
        if kept is None:
            return self.choose(LicenceQuery.by(grant), time_ms, blocked), None
        query = replace(LicenceQuery.by(grant), keys=(kept.key, *grant.keys))
        with self._seats.without(kept):
            choice = self.choose(query, time_ms, [key for key in blocked if key != kept.key])
        takes = isinstance(choice, ProductItem) and choice.key == kept.key
        return choice, kept if takes else None

    def too_many(self, client: str, *, borrowings: bool = False) -> str:
        """Limit that keeps the client from a further session, or borrowing; empty: none."""
        if borrowings:
            out, lent = len(self._seats.borrowings), self._seats.lent
            if out >= MAX_BORROWINGS or lent.size >= MAX_BORROWINGS_SIZE:
                return f"{out} borrowings are out, and there is no room for more at a time"
            if len(lent.of(client)) >= MAX_BORROWINGS_OF_CLIENT or (
                lent.size_of(client) >= MAX_BORROWINGS_SIZE // 2
            ):
                return f"this client has {len(lent.of(client))} borrowings, and no more at a time"
            return ""
        held = self._seats.held
        if self.full:
            return f"this system holds {len(self._seats.sessions)} sessions, and no more at a time"
        if len(held.of(client)) >= MAX_SESSIONS_OF_CLIENT or held.size_of(client) >= MAX_SESSIONS_SIZE // 2:
            return f"this client holds {len(held.of(client))} sessions, and no more at a time"
        return ""

    @property
    def full(self) -> bool:
        """No client can have a further session."""
        return len(self._seats.sessions) >= MAX_SESSIONS or self._seats.held.size >= MAX_SESSIONS_SIZE

    def all_taken(self, keys: Iterable[LicenceKey]) -> bool:
        """Tells whether no seat of any of these licences is free or shared, whatever else holds."""
        for key in keys:
            merged = self._containers.licences.get(key)
            if merged is not None:
                use, quantity = self._seats.use(key), merged.item.quantity
                if merged.item.named_user:
                    return False
                if not use.exclusive and (quantity is None or use.seats < quantity):
                    return False
        return True

    def refusal(
        self, item: ProductItem, asked: LicenceQuery, time_ms: int, blocked: Collection[LicenceKey]
    ) -> Denial | None:
        """Reason why this licence does not admit the access now, or None."""
        verdict = self._seats.verdict(item.key, asked.subject)
        if not verdict.allowed:
            return Denial(
                Denied("access-denied", f"the access rule {verdict.rule!r} does not admit it", verdict.rule)
            )
        usage = self._usage
        final = usage.invalid(item, time_ms) or validity.unfit(item, asked.features, asked.released_ms)
        final = (
            final
            or _nameless(item, asked)
            or usage.too_few(item, asked.units)
            or self._not_borrowable(item, asked)
        )
        if final is not None:
            return Denial(final)
        use = self._seats.use(item.key)
        seat = shared_seat(asked.mode, item.named_user, asked.client, asked.station, asked.subject.user)
        shares = asked.borrow_s is None and seat in use.shared
        takes_a_seat = asked.mode != "no-user-limit" and not shares
        refusal = self._by_rule(item, asked) if takes_a_seat else None
        if refusal is not None:
            return refusal
        if use.exclusive:
            told = f"session {use.exclusive} holds {item.key} exclusively"
            return Denial(Denied("exclusive-conflict", told), True)
        if item.key in blocked:
            told = f"somebody who came before waits to hold {item.key} exclusively"
            return Denial(Denied("exclusive-conflict", told), True)
        if not takes_a_seat:
            return None
        if asked.mode == "exclusive" and not use.idle:
            sessions, borrowings = len(use.sessions), len(use.borrowings)
            taken = f"{counted(sessions, 'session')} and {counted(borrowings, 'borrowing')} are in use"
            if use.lingering:
                taken += f", and {counted(len(use.lingering), 'seat')} kept for the Linger Time"
            return Denial(Denied("exclusive-conflict", taken), True, frozenset((item.key,)))
        if item.quantity is not None and use.seats >= item.quantity:
            taken = _in_use(use.seats, item)
            return Denial(Denied("no-more-licences", taken), True)
        return self._kept(item, use, asked.subject)

    def _by_rule(self, item: ProductItem, asked: LicenceQuery) -> Denial | None:
        """Seats that the counting rules leave, whatever others do: at most so many, or all for others."""
        rules = self._seats.rules_of(item.key)
        if not rules:
            return None
        mine, counts = self._seats.matching(asked.subject), self._seats.counts(item.key)
        others = [rule for rule in rules if rule.effect == "reserve" and rule.name not in mine]
        for_others = sum(rule.seats or 0 for rule in others)
        # First what waiting cannot change: so whether it helps does not depend on who holds what.
        if others and (asked.mode == "exclusive" or for_others >= (item.quantity or math.inf)):
            kept = counted(for_others, "seat")
            told = f"the access rule {others[0].name!r} keeps {kept} of {item.key} for others"
            return Denial(Denied("access-denied", told, others[0].name))
        for rule in rules:
            taken, seats = counts.get(rule.name, 0), rule.seats or 0
            if rule.effect == "limit" and rule.name in mine and taken >= seats:
                admitted = counted(seats, "seat")
                told = f"the access rule {rule.name!r} admits {admitted}, and {taken} {_are(taken)} in use"
                return Denial(Denied("access-denied", told, rule.name), True)
        return None

    def _kept(self, item: ProductItem, use: SeatUse, subject: Subject) -> Denial | None:
        """Reason why a free seat is kept for others, or None."""
        rules = self._seats.rules_of(item.key)
        if item.quantity is None or not rules:
            return None
        mine, counts = self._seats.matching(subject), self._seats.counts(item.key)
        kept, holder = 0, ""
        for rule in rules:
            free = (rule.seats or 0) - counts.get(rule.name, 0)
            if rule.effect == "reserve" and rule.name not in mine and free > 0:
                kept, holder = kept + free, holder or rule.name
        if use.seats + kept < item.quantity:
            return None
        told = f"{_in_use(use.seats, item)}, and the access rule {holder!r} keeps {kept} for others"
        return Denial(Denied("access-denied", told, holder), True)

    def _not_borrowable(self, item: ProductItem, asked: LicenceQuery) -> Denied | None:
        if asked.borrow_s is None:
            return None
        if item.borrow_s is None:
            return Denied("borrow-failed", f"{item.key} cannot be borrowed")
        if asked.borrow_s > item.borrow_s:
            return Denied(
                "borrow-failed",
                f"{item.key} can be borrowed for {exact_period(item.borrow_s)}, "
                f"not for {exact_period(asked.borrow_s)}",
            )
        out = len(self._seats.use(item.key).borrowings)
        if item.borrow_seats is not None and out >= item.borrow_seats:
            seats = counted(item.borrow_seats, "seat")
            return Denied("borrow-failed", f"{out} of {seats} of {item.key} {_are(out)} borrowed")
        return None


def _nameless(item: ProductItem, asked: LicenceQuery) -> Denied | None:
    """Reason why a request without a user cannot have a named user's seat."""
    if not item.named_user or asked.subject.user:
        return None
    return Denied("access-denied", f"{item.key} is for named users, and the request names no user")


def _in_use(seats: int, item: ProductItem) -> str:
    """Seats of a limited licence that are taken."""
    return f"{seats} of {counted(item.quantity or 0, 'seat')} of {item.key} {_are(seats)} in use"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
