"""Seats for those who wait: first come first served, within the access rules."""

from tmr.ledger.books import Books
from tmr.ledger.choose import Asked
from tmr.ledger.outcomes import Denied
from tmr.ledger.session import begin
from tmr.ledger.state import Ended, Product
from tmr.licensing import LicenceKey, ProductItem


def blocked(books: Books, product: Product, time_ms: int) -> set[LicenceKey]:
    """The licences on which somebody waits for a seat: who comes later must not have it first."""
    found: set[LicenceKey] = set()
    queue = books.queues.of(product)
    wanted = {key for waiter in queue.values() for key in waiter.grant.keys}
    for waiter in queue.values():
        found |= books.chooser.blocks(Asked.by(waiter.grant), time_ms, found)
        if wanted <= found:
            break
    return found


def promote(books: Books, product: Product) -> None:
    """Give seats that became free to those who wait."""
    queue = books.queues.of(product)
    found: set[LicenceKey] = set()
    wanted = {key for waiter in queue.values() for key in waiter.grant.keys}
    for place, waiter in list(queue.items()):
        if wanted <= found:
            break
        asked = Asked.by(waiter.grant)
        choice = books.chooser.choose(asked, books.time_ms, found)
        if isinstance(choice, ProductItem):
            books.queues.drop(place)
            granted = begin(books, waiter.grant, choice)
            books.remember(waiter.grant, granted)
            books.promoted.append(granted)
        else:
            found |= books.chooser.blocks(asked, books.time_ms, found)


def promote_all(books: Books) -> None:
    """The same for every product: licences or access rules changed."""
    for product in list(books.queues.by_product):
        promote(books, product)


def leave(books: Books, place: str, by: str, who: str = "") -> None:
    """A place in the queue is given up."""
    grant = books.queues.drop(place).grant
    books.memory.end(Ended(place, grant.client, None, by, who, books.time_ms))
    books.remember(grant, Denied("session-lost", f"the place in the queue was given up ({by})"))
    books.recorder.unqueued(grant, by)
