# SPDX-License-Identifier: Apache-2.0
"""The begin and the end of a session."""

from tmr.ledger.commands import Grant
from tmr.ledger.ledger_state import LedgerState
from tmr.ledger.outcomes import Granted
from tmr.ledger.state import Ended, Session
from tmr.licensing import ProductItem


def begin(ledger_state: LedgerState, grant: Grant, item: ProductItem, replaced: str = "") -> Granted:
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
        ledger_state.time_ms,
        grant.address,
        grant.instance,
    )
    ledger_state.seats.begin(session)
    ledger_state.use(item)
    if grant.units:
        ledger_state.usage.spend(item.key, grant.units)
    ledger_state.recorder.granted(session, item.emergency, grant.units)
    return Granted(
        session.id,
        item.key,
        grant.mode,
        grant.ttl,
        ledger_state.time_ms,
        ledger_state.seats.use(item.key).seats,
        item.quantity,
        item.emergency,
        ledger_state.usage.ends_ms(item),
        ledger_state.usage.remaining(item),
        replaced,
    )


def end(ledger_state: LedgerState, session: Session, by: str, who: str) -> None:
    """The session is over. `by`: as in `Free`, or replaced (by the session `who`). `who`: the operator."""
    ledger_state.seats.end(session)
    ledger_state.memory.end(
        Ended(
            session.id,
            session.client,
            session.key,
            by,
            who,
            ledger_state.time_ms,
            ledger_state.memory.steady_ms,
        )
    )
    ledger_state.recorder.ended(session, by, who)
