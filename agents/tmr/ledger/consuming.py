"""Carries out `Consume`: units are taken exactly once, whatever is retried."""

from tmr.ledger.books import Books
from tmr.ledger.commands import Consume
from tmr.ledger.outcomes import Consumed, Denied, Outcome


def consume(books: Books, command: Consume) -> Outcome:
    """Units, or a denial."""
    repeated = books.repeated(command)
    if repeated is not None:
        return repeated
    outcome = _take(books, command)
    books.remember(command, outcome)
    return outcome


def _take(books: Books, command: Consume) -> Outcome:
    session = books.seats.sessions.get(command.session)
    if session is None or session.client != command.client:
        return Denied("session-lost", f"there is no session {command.session} of this client")
    merged = books.containers.licences.get(session.key)
    if merged is None:
        return Denied("licence-unavailable", f"{session.key} is not available")
    denied = books.meters.invalid(merged.item, books.time_ms)
    denied = denied or books.meters.too_few(merged.item, command.units)
    if denied is not None:
        books.recorder.units_denied(session, command.units, denied)
        return denied
    books.meters.spend(session.key, command.units)
    books.recorder.units(session, command.units)
    remaining = books.meters.remaining(merged.item)
    assert remaining is not None  # noqa: S101
    return Consumed(session.id, session.key, command.units, remaining)
