# SPDX-License-Identifier: Apache-2.0
"""Seats for waiting requests: first come, first served, within the access rules.

After every command no request waits that could have a seat: whatever frees a seat, or changes the right to
one, ends with `promote`. So a new request gets only what no request in the queue could have. There is one
exception: a request that waits to hold a licence alone keeps it from all later requests, because it would
never be idle otherwise.
"""

from typing import Final

from tmr.ledger import session
from tmr.ledger.choose import Denial, LicenceQuery
from tmr.ledger.ledger_state import LedgerState
from tmr.ledger.outcomes import Denied
from tmr.ledger.state import Ended, Lingering, Product, Waiter
from tmr.licensing import LicenceKey, ProductItem

_PASSING: Final = frozenset({"entry-not-found", "overloaded"})
"""Denials that say nothing of the next hour: an update may be half done, or the system full."""


def blocked(ledger_state: LedgerState, product: Product, time_ms: int) -> set[LicenceKey]:
    """The licences that a request in the queue waits to hold alone."""
    found: set[LicenceKey] = set()
    for waiter in ledger_state.queues.exclusive(product):
        choice = ledger_state.chooser.choose(LicenceQuery.by(waiter.grant), time_ms, found)
        if isinstance(choice, Denial):
            found |= choice.blocks
    return found


def promote(ledger_state: LedgerState, product: Product, *, thorough: bool = False) -> None:
    """Go through the queue until no request in it can have a seat.

    A request that cannot gain by waiting leaves it. `thorough`: rules, licences, units or time changed,
    so that this may be true of those, too, all of whose seats are taken.
    """
    again = True
    ledger_state.passed_over.discard(product)
    while again and product in ledger_state.queues.by_product:
        again = False
        if ledger_state.chooser.full:
            ledger_state.passed_over.add(product)
            return
        found: set[LicenceKey] = set()
        for place, waiter in list(ledger_state.queues.of(product).items()):
            seat_only = waiter.grant.mode == "user-limit" and not thorough
            seat_only = seat_only and not ledger_state.seats.lingering  # its own may be among them
            if seat_only and ledger_state.chooser.all_taken(waiter.grant.keys):
                continue
            choice, kept = ledger_state.chooser.choose_again(waiter.grant, ledger_state.time_ms, found)
            if isinstance(choice, ProductItem):
                _seat(ledger_state, place, choice, kept)
                # its units are gone, its station can be shared, a seat kept for it is taken
                again, thorough = True, thorough or waiter.grant.units > 0
            elif choice.queues or choice.denied.reason in _PASSING:
                found |= choice.blocks
                if choice.denied.reason == "overloaded":
                    ledger_state.passed_over.add(product)
            else:
                _dismiss(ledger_state, place, choice.denied)


def promote_all(ledger_state: LedgerState) -> None:
    """The same for every product, thoroughly: licences or access rules changed."""
    for product in list(ledger_state.queues.by_product):
        promote(ledger_state, product, thorough=True)


def promote_passed_over(ledger_state: LedgerState) -> None:
    """The same for the products in whose queues a request could not have a seat for want of sessions."""
    for product in [
        product for product in ledger_state.queues.by_product if product in ledger_state.passed_over
    ]:
        promote(ledger_state, product, thorough=True)


def _seat(ledger_state: LedgerState, place: str, item: ProductItem, kept: Lingering | None) -> None:
    waiter: Waiter = ledger_state.queues.drop(place)
    granted = session.begin(ledger_state, waiter.grant, item, kept)
    ledger_state.remember(waiter.grant, granted)
    ledger_state.promoted.append(granted)


def leave(ledger_state: LedgerState, place: str, by: str, who: str = "") -> None:
    """A place in the queue is given up."""
    grant = ledger_state.queues.drop(place).grant
    ledger_state.memory.end(
        Ended(place, grant.client, None, by, who, ledger_state.time_ms, ledger_state.memory.steady_ms)
    )
    ledger_state.remember(grant, Denied("session-lost", f"the place in the queue was given up ({by})"))
    ledger_state.recorder.unqueued(grant, by)


def _dismiss(ledger_state: LedgerState, place: str, denied: Denied) -> None:
    """Waiting is in vain: the request is denied, and told so when it asks for its place."""
    grant = ledger_state.queues.drop(place).grant
    ledger_state.remember(grant, denied)
    ledger_state.recorder.unqueued(grant, denied.reason)
