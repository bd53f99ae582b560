"""Which licence admits an access, or why none does. Decides, and changes nothing."""

from collections.abc import Collection
from typing import Final

import msgspec

from tmr.ledger import access, validity
from tmr.ledger.access import Subject
from tmr.ledger.commands import Borrow, Grant
from tmr.ledger.containers import Containers
from tmr.ledger.meters import Meters
from tmr.ledger.outcomes import Denied
from tmr.ledger.seats import Seats
from tmr.ledger.state import Product
from tmr.ledger.use import Use
from tmr.licensing import LicenceKey, ProductItem

MAX_SESSIONS: Final = 200_000
"""Sessions that one system holds; beyond, requests are denied."""
MAX_BORROWINGS: Final = 50_000

_EMERGENCIES: Final = frozenset(
    {"no-more-licences", "exclusive-conflict", "licence-expired", "licence-not-active", "not-enough-units"}
)
"""Why an ordinary licence may be missing, so that an emergency licence takes its place."""


class Refusal(msgspec.Struct, frozen=True):
    """Why one licence is not given. `queues`: it may be given later, so waiting makes sense. `blocks`: all of
    its seats are taken, so that nobody who came later may have one before."""

    denied: Denied
    queues: bool = False
    blocks: bool = False


class Asked(msgspec.Struct, frozen=True):
    """What `Grant` and `Borrow` have in common for the choice of a licence."""

    product: Product
    keys: tuple[LicenceKey, ...]
    subject: Subject
    mode: str
    client: str
    station: str
    features: int
    released_ms: int | None
    units: int = 0
    borrow_s: int | None = None

    @classmethod
    def by(cls, request: Grant | Borrow) -> "Asked":
        """What the request asks for."""
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


class Chooser:
    """See the module."""

    def __init__(self, containers: Containers, seats: Seats, meters: Meters) -> None:
        self._containers, self._seats, self._meters = containers, seats, meters

    def choose(self, asked: Asked, time_ms: int, blocked: Collection[LicenceKey]) -> ProductItem | Refusal:
        """The first licence of the product that admits the access, ordinary ones first; or why none does.

        `blocked`: licences on which somebody who came before waits for a seat.
        """
        if len(self._seats.sessions) >= MAX_SESSIONS or len(self._seats.borrowings) >= MAX_BORROWINGS:
            return Refusal(Denied("overloaded", f"{len(self._seats.sessions)} sessions are held"))
        items = self._candidates(asked)
        refusals: list[Refusal] = []
        for item in items:
            if item.emergency:
                continue
            refusal = self.refusal(item, asked, time_ms, blocked)
            if refusal is None:
                return item
            refusals.append(refusal)
        # Who may not use the product, or has the wrong version of it, is in no emergency.
        if all(r.denied.reason in _EMERGENCIES and not r.denied.rule for r in refusals):
            for item in items:
                if not item.emergency:
                    continue
                refusal = self.refusal(item, asked, time_ms, blocked)
                if refusal is None:
                    return item
                if not refusals:
                    refusals.append(refusal)
        if not refusals:
            firm_code, product_code = asked.product
            return Refusal(Denied("entry-not-found", f"no licence {firm_code}:{product_code} is available"))
        # What could still be had by waiting says most.
        return next((refusal for refusal in refusals if refusal.queues), refusals[-1])

    def blocks(self, asked: Asked, time_ms: int, blocked: Collection[LicenceKey]) -> set[LicenceKey]:
        """The licences besides `blocked` that nobody who came later than `asked` may have before."""
        found = set[LicenceKey]()
        for item in self._candidates(asked):
            if item.emergency or item.key in blocked:
                continue
            refusal = self.refusal(item, asked, time_ms, blocked)
            if refusal is not None and refusal.blocks:
                found.add(item.key)
        return found

    def _candidates(self, asked: Asked) -> list[ProductItem]:
        licences = self._containers.licences
        items = [licences[key].item for key in asked.keys if key in licences]
        return [item for item in items if (item.firm_code, item.product_code) == asked.product]

    def refusal(
        self, item: ProductItem, asked: Asked, time_ms: int, blocked: Collection[LicenceKey]
    ) -> Refusal | None:
        """Why this licence does not admit the access now, or None."""
        verdict = access.verdict(self._seats.access, item.key, asked.subject)
        if not verdict.allowed:
            return Refusal(
                Denied("access-denied", f"the access rule {verdict.rule!r} does not admit it", verdict.rule)
            )
        meters = self._meters
        final = meters.invalid(item, time_ms) or validity.unfit(item, asked.features, asked.released_ms)
        final = final or meters.too_few(item, asked.units) or self._not_borrowable(item, asked)
        if final is not None:
            return Refusal(final)
        use = self._seats.use(item.key)
        if use.exclusive:
            told = f"session {use.exclusive} holds {item.key} exclusively"
            return Refusal(Denied("exclusive-conflict", told), True, True)
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
        for rule in self._seats.rules_of(item.key):
            taken, seats = use.counts.get(rule.name, 0), rule.seats or 0
            mine = access.matches(self._seats.access, rule.who, subject)
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
        out = len(self._seats.use(item.key).borrowings)
        if item.borrow_seats is not None and out >= item.borrow_seats:
            return Denied("borrow-failed", f"{out} of {item.borrow_seats} seats of {item.key} are borrowed")
        return None
