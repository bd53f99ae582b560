"""Carries out `Grant` and `Free`."""

from tmr.ledger import session
from tmr.ledger.books import Books
from tmr.ledger.choose import Asked, Refusal
from tmr.ledger.commands import Free, Grant
from tmr.ledger.outcomes import Denied, Freed, Granted, Outcome, Waiting
from tmr.ledger.promote import blocked, leave, promote, promote_passed_over
from tmr.ledger.state import Waiter
from tmr.licensing import LicenceKey, ProductItem


def grant(books: Books, asked: Grant) -> Outcome:
    """A session, a place in the queue, or a denial."""
    repeated = books.repeated(asked)
    if isinstance(repeated, Waiting):
        _bring_up_to_date(books, repeated.session, asked)
        repeated = books.repeated(asked)
    if isinstance(repeated, Waiting) and not asked.wait:
        promote(books, asked.product, thorough=True)
        repeated = books.repeated(asked)
        if isinstance(repeated, Waiting):
            return _give_up(books, repeated.session)
    if repeated is not None:
        return repeated
    if denied := books.too_many(asked):
        return denied
    if asked.session in books.seats.sessions or asked.session in books.queues.places:
        return Denied("conflicting-key", f"session {asked.session} exists already")
    former = former_of(books, asked)
    replaced, kept = _replace(books, asked, former)
    reserved = blocked(books, asked.product, books.time_ms) - {kept}
    choice = books.chooser.choose(Asked.by(asked), books.time_ms, reserved)
    outcome: Outcome
    if isinstance(choice, ProductItem):
        outcome = session.begin(books, asked, choice, replaced)
    elif asked.wait and choice.queues and not books.queues.full(asked.product, asked.client):
        outcome = _queue(books, asked)
    else:
        outcome = choice.denied
        books.recorder.denied(asked, outcome)
    if not isinstance(outcome, Waiting):
        books.remember(asked, outcome)
    if former is not None or isinstance(outcome, Granted):
        promote(books, asked.product, thorough=asked.units > 0)
    if former is not None and not isinstance(outcome, Granted):
        promote_passed_over(books)  # a session ended, and none took its place
    return outcome


def _bring_up_to_date(books: Books, place: str, asked: Grant) -> None:
    """Who waits asks again: for the licences that are available by now."""
    if asked.keys and books.queues.waiter(place).grant.keys != asked.keys:
        books.queues.update(place, asked.keys)
        promote(books, asked.product, thorough=True)


def _give_up(books: Books, place: str) -> Denied:
    """Who waits will not wait any longer: denied, unless the place has become a session before.

    One command decides which of the two it is. Were the place given up by its id, a seat that came just then
    would be thrown away, with the units that were taken for it.
    """
    waiter = books.queues.waiter(place).grant
    reserved = blocked(books, waiter.product, books.time_ms)
    choice = books.chooser.choose(Asked.by(waiter), books.time_ms, reserved)
    leave(books, place, "release")
    denied = Denied("session-lost", "the place in the queue was given up")
    if isinstance(choice, Refusal):  # always: nobody waits who could have a seat
        denied = choice.denied
    books.recorder.denied(waiter, denied)
    books.remember(waiter, denied)
    promote(books, waiter.product)
    return denied


def former_of(books: Books, asked: Grant) -> str | None:
    """The session, or place in the queue, that the same instance of the application had."""
    if not asked.instance:
        return None
    return books.seats.of_instance(asked.run_place) or books.queues.of_instance(asked.run_place)


def _replace(books: Books, asked: Grant, former: str | None) -> tuple[str, LicenceKey | None]:
    """End what the instance had: it crashed and asks again. The session that ended, and whose seat it keeps.

    It keeps its seat before all who wait, if it asks for the same kind of access. Otherwise it queues like
    everybody; so it does if it only had a place in the queue.
    """
    if former is None:
        return "", None
    held = books.seats.sessions.get(former)
    if held is None:
        leave(books, former, "replaced", asked.session)
    else:
        session.end(books, held, "replaced", asked.session)
        if held.mode == asked.mode:
            return former, held.key
    promote(books, asked.product)
    return ("" if held is None else former), None


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
    had_too_many = books.chooser.too_many(held.client)
    session.end(books, held, command.by, command.who)
    if had_too_many:
        books.passed_over.add(held.product)
        promote_passed_over(books)
    else:
        promote(books, held.product)
    return Freed(held.id, existed=True)
