# SPDX-License-Identifier: Apache-2.0
"""The begin and the end of a session."""

from typing import Final

from tmr.ledger.commands import Grant
from tmr.ledger.ledger_state import LedgerState
from tmr.ledger.outcomes import Granted
from tmr.ledger.state import Ended, Lingering, Session
from tmr.licensing import ProductItem

LINGERS: Final = frozenset({"release", "expiry"})
"""Ends after which the seat is kept for the Linger Time. An operator who ends a session frees its seat."""


def begin(
    ledger_state: LedgerState, grant: Grant, item: ProductItem, kept: Lingering | None, replaced: str = ""
) -> Granted:
    """The session that was asked for begins on the licence. `kept`: its holder's seat, which it takes."""
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
        item.named_user,
    )
    if kept is not None:
        ledger_state.seats.stop_lingering(kept)
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
    seats = ledger_state.seats
    before = seats.use(session.key).seats
    seats.end(session)
    if by in LINGERS and seats.use(session.key).seats < before:
        _linger(ledger_state, session)
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


def _linger(ledger_state: LedgerState, session: Session) -> None:
    """The seat is kept for its holder, if its licence has a Linger Time."""
    licence = ledger_state.containers.licences.get(session.key)
    if licence is None or licence.item.linger_s is None or not ledger_state.seats.may_linger(session.client):
        return
    until_ms = ledger_state.time_ms + licence.item.linger_s * 1000
    ledger_state.seats.linger(
        Lingering(
            session.id,
            session.client,
            session.key,
            session.station,
            session.user,
            session.address,
            session.named,
            ledger_state.time_ms,
            until_ms,
        )
    )
    ledger_state.turns.add(until_ms, session.product)
