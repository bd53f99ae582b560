"""Carries out `Grant` and `Free`."""

from tmr.ledger import session
from tmr.ledger.books import Books
from tmr.ledger.choose import Asked
from tmr.ledger.commands import Free, Grant
from tmr.ledger.outcomes import Denied, Freed, Outcome, Waiting
from tmr.ledger.promote import blocked, leave, promote
from tmr.ledger.state import Waiter
from tmr.licensing import ProductItem


def grant(books: Books, asked: Grant) -> Outcome:
    """A session, a place in the queue, or a denial."""
    repeated = books.repeated(asked)
    if repeated is not None:
        return repeated
    if asked.session in books.seats.sessions or asked.session in books.queues.places:
        return Denied("conflicting-key", f"session {asked.session} exists already")
    promote(books, asked.product)
    replaced = _replace(books, asked)
    reserved = () if replaced else blocked(books, asked.product, books.time_ms)
    choice = books.chooser.choose(Asked.by(asked), books.time_ms, reserved)
    outcome: Outcome
    if isinstance(choice, ProductItem):
        outcome = session.begin(books, asked, choice, replaced)
    elif asked.wait and choice.queues and not books.queues.full:
        outcome = _queue(books, asked)
    else:
        outcome = choice.denied
        books.recorder.denied(asked, outcome)
    if not isinstance(outcome, Waiting):
        books.remember(asked, outcome)
    if replaced:
        promote(books, asked.product)
    return outcome


def former_of(books: Books, asked: Grant) -> str | None:
    """The session, or place in the queue, that the same instance of the application had."""
    if not asked.instance:
        return None
    return books.seats.of_instance(asked.run_place) or books.queues.of_instance(asked.run_place)


def _replace(books: Books, asked: Grant) -> str:
    """End what the instance had: it crashed and asks again. Gives the session that ended, or ""."""
    former = former_of(books, asked)
    if former is None:
        return ""
    if former in books.queues.places:
        leave(books, former, "replaced", asked.session)
        return ""
    session.end(books, books.seats.sessions[former], "replaced", asked.session)
    return former


def _queue(books: Books, asked: Grant) -> Waiting:
    books.queues.add(Waiter(asked, books.time_ms))
    books.recorder.queued(asked)
    return Waiting(asked.session, books.queues.position(asked.session) or 0, books.time_ms)


def free(books: Books, command: Free) -> Outcome:
    """End a session, or give up a place in the queue."""
    place = command.session
    if place in books.queues.places:
        waiter = books.queues.waiter(place).grant
        if command.client not in (None, waiter.client):
            return Denied("access-denied", "the place in the queue belongs to another client")
        leave(books, place, command.by, command.who)
        promote(books, waiter.product)
        return Freed(place, existed=True)
    held = books.seats.sessions.get(command.session)
    if held is None:
        return Freed(command.session, existed=False)
    if command.client not in (None, held.client):
        return Denied("access-denied", "the session belongs to another client")
    session.end(books, held, command.by, command.who)
    promote(books, held.product)
    return Freed(held.id, existed=True)
