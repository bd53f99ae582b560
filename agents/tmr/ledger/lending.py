"""Carries out `Borrow` and `GiveBack`."""

from tmr.ledger.books import Books
from tmr.ledger.choose import Asked
from tmr.ledger.commands import Borrow, GiveBack
from tmr.ledger.outcomes import Borrowed, Denied, GivenBack, Outcome
from tmr.ledger.promote import blocked, promote
from tmr.ledger.state import Borrowing
from tmr.licensing import ProductItem


def borrow(books: Books, command: Borrow) -> Outcome:
    """A seat leaves the network, or a denial."""
    repeated = books.repeated(command)
    if repeated is not None:
        return repeated
    if denied := books.too_many(command):
        return denied
    if command.borrow in books.seats.borrowings:
        return Denied("conflicting-key", f"borrowing {command.borrow} exists already")
    reserved = blocked(books, command.product, books.time_ms)
    choice = books.chooser.choose(Asked.by(command), books.time_ms, reserved)
    outcome: Outcome
    if isinstance(choice, ProductItem):
        outcome = _lend(books, command, choice)
    else:
        outcome = choice.denied
        books.recorder.denied(command, outcome)
    books.remember(command, outcome)
    if isinstance(outcome, Borrowed):
        promote(books, command.product)
    return outcome


def _lend(books: Books, command: Borrow, item: ProductItem) -> Borrowed:
    books.use(item)
    until = books.time_ms + command.seconds * 1000
    ends = books.meters.ends_ms(item)
    borrowing = Borrowing(
        command.borrow,
        command.client,
        item.key,
        command.borrower,
        command.station,
        command.user,
        command.address,
        books.time_ms,
        until if ends is None else min(until, ends),
    )
    books.seats.lend(borrowing)
    books.recorder.borrowed(borrowing)
    return Borrowed(
        borrowing.id,
        item.key,
        books.time_ms,
        borrowing.until_ms,
        books.seats.use(item.key).seats,
        item.quantity,
    )


def give_back(books: Books, command: GiveBack) -> Outcome:
    """The seat comes back."""
    borrowing = books.seats.borrowings.get(command.borrow)
    if borrowing is None:
        return GivenBack(command.borrow, existed=False)
    if command.client not in (None, borrowing.client):
        return Denied("access-denied", "the borrowing belongs to another client")
    books.seats.take_back(borrowing)
    books.recorder.returned(borrowing, command.by, command.who)
    promote(books, borrowing.product)
    return GivenBack(command.borrow, existed=True)
