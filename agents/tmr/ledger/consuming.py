"""Carries out `Consume`: units are taken exactly once, whatever is retried."""

from tmr.ledger.books import Books
from tmr.ledger.commands import Consume
from tmr.ledger.outcomes import Consumed, Denied, Outcome
from tmr.ledger.promote import promote
from tmr.ledger.state import Session
from tmr.licensing import ProductItem


def consume(books: Books, command: Consume) -> Outcome:
    """Units, or a denial."""
    repeated = books.repeated(command)
    if repeated is not None:
        return repeated
    if denied := books.too_many(command):
        return denied
    outcome = _take(books, command)
    books.remember(command, outcome)
    return outcome


def review(books: Books, command: Consume, time_ms: int) -> Denied | None:
    """Why there are no units, or None."""
    found = _source(books, command, time_ms)
    return found if isinstance(found, Denied) else None


def _source(books: Books, command: Consume, time_ms: int) -> tuple[Session, ProductItem] | Denied:
    """What the units are taken from; or why they are not."""
    session = books.seats.sessions.get(command.session)
    if session is None or session.client != command.client:
        return Denied("session-lost", f"there is no session {command.session} of this client")
    merged = books.containers.licences.get(session.key)
    if merged is None:
        return Denied("licence-unavailable", f"{session.key} is not available")
    denied = books.meters.invalid(merged.item, time_ms) or books.meters.too_few(merged.item, command.units)
    return denied or (session, merged.item)


def _take(books: Books, command: Consume) -> Outcome:
    found = _source(books, command, books.time_ms)
    if isinstance(found, Denied):
        session = books.seats.sessions.get(command.session)
        if session is not None and session.client == command.client:
            books.recorder.units_denied(session, command.units, found)
        return found
    session, item = found
    books.meters.spend(item.key, command.units)
    books.recorder.units(session, command.units)
    remaining = books.meters.remaining(item)
    assert remaining is not None  # noqa: S101
    promote(books, session.product, thorough=True)  # who waits for units may wait in vain now
    return Consumed(session.id, item.key, command.units, remaining)
