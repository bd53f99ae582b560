"""Seats for those who wait: first come first served, within the access rules.

After every command nobody waits who could have a seat: whatever frees one, or changes who may have one, ends
with `promote`. So a newcomer gets only what nobody in the queue could have, except that who waits to hold a
licence alone keeps it from all who come later: it would never be idle otherwise.
"""

from typing import Final

from tmr.ledger import session
from tmr.ledger.books import Books
from tmr.ledger.choose import Asked, Refusal
from tmr.ledger.outcomes import Denied
from tmr.ledger.state import Ended, Product, Waiter
from tmr.licensing import LicenceKey, ProductItem

_PASSING: Final = frozenset({"entry-not-found", "overloaded"})
"""Denials that say nothing of the next hour: an update may be half done, or the system full."""


def blocked(books: Books, product: Product, time_ms: int) -> set[LicenceKey]:
    """The licences that somebody in the queue waits to hold alone."""
    found: set[LicenceKey] = set()
    for waiter in books.queues.exclusive(product):
        choice = books.chooser.choose(Asked.by(waiter.grant), time_ms, found)
        if isinstance(choice, Refusal):
            found |= choice.blocks
    return found


def promote(books: Books, product: Product, *, thorough: bool = False) -> None:
    """Go through the queue until nobody in it can have a seat.

    Who can get nothing by waiting leaves it. `thorough`: rules, licences, units or time changed, so that
    this may be true of those, too, all of whose seats are taken.
    """
    again = True
    books.passed_over.discard(product)
    while again and product in books.queues.by_product:
        again = False
        if books.chooser.full:
            books.passed_over.add(product)
            return
        found: set[LicenceKey] = set()
        for place, waiter in list(books.queues.of(product).items()):
            seat_only = waiter.grant.mode == "user-limit" and not thorough
            if seat_only and books.chooser.all_taken(waiter.grant.keys):
                continue
            choice = books.chooser.choose(Asked.by(waiter.grant), books.time_ms, found)
            if isinstance(choice, ProductItem):
                _seat(books, place, choice)
                # its units are gone, its station can be shared, a seat kept for it is taken
                again, thorough = True, thorough or waiter.grant.units > 0
            elif choice.queues or choice.denied.reason in _PASSING:
                found |= choice.blocks
                if choice.denied.reason == "overloaded":
                    books.passed_over.add(product)
            else:
                _dismiss(books, place, choice.denied)


def promote_all(books: Books) -> None:
    """The same for every product, thoroughly: licences or access rules changed."""
    for product in list(books.queues.by_product):
        promote(books, product, thorough=True)


def promote_passed_over(books: Books) -> None:
    """The same for the products in whose queues somebody could not have a seat for want of sessions."""
    for product in [product for product in books.queues.by_product if product in books.passed_over]:
        promote(books, product, thorough=True)


def _seat(books: Books, place: str, item: ProductItem) -> None:
    waiter: Waiter = books.queues.drop(place)
    granted = session.begin(books, waiter.grant, item)
    books.remember(waiter.grant, granted)
    books.promoted.append(granted)


def leave(books: Books, place: str, by: str, who: str = "") -> None:
    """A place in the queue is given up."""
    grant = books.queues.drop(place).grant
    books.memory.end(Ended(place, grant.client, None, by, who, books.time_ms, books.memory.steady_ms))
    books.remember(grant, Denied("session-lost", f"the place in the queue was given up ({by})"))
    books.recorder.unqueued(grant, by)


def _dismiss(books: Books, place: str, denied: Denied) -> None:
    """Waiting is in vain: the request is denied, and told so when it asks for its place."""
    grant = books.queues.drop(place).grant
    books.remember(grant, denied)
    books.recorder.unqueued(grant, denied.reason)
