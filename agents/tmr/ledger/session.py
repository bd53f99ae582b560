"""The begin and the end of a session."""

from tmr.ledger.books import Books
from tmr.ledger.commands import Grant
from tmr.ledger.outcomes import Granted
from tmr.ledger.state import Ended, Session
from tmr.licensing import ProductItem


def begin(books: Books, grant: Grant, item: ProductItem, replaced: str = "") -> Granted:
    """The session that was asked for begins on the licence."""
    session = Session(
        grant.session,
        grant.client,
        item.key,
        grant.mode,
        grant.ttl,
        grant.station,
        grant.user,
        grant.process,
        books.time_ms,
        grant.address,
        grant.instance,
    )
    books.seats.begin(session)
    books.use(item)
    if grant.units:
        books.meters.spend(item.key, grant.units)
    books.recorder.granted(session, item.emergency, grant.units)
    return Granted(
        session.id,
        item.key,
        grant.mode,
        grant.ttl,
        books.time_ms,
        books.seats.use(item.key).seats,
        item.quantity,
        item.emergency,
        books.meters.ends_ms(item),
        books.meters.remaining(item),
        replaced,
    )


def end(books: Books, session: Session, by: str, who: str) -> None:
    """The session is over. `by`: release, expiry, operator (`who`) or replaced (by the session `who`)."""
    books.seats.end(session)
    books.memory.end(
        Ended(session.id, session.client, session.key, by, who, books.time_ms, books.memory.steady_ms)
    )
    books.recorder.ended(session, by, who)
