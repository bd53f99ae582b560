# SPDX-License-Identifier: Apache-2.0
"""Carries out `Consume`: units are taken exactly once, whatever is retried."""

from tmr.ledger.commands import Consume
from tmr.ledger.ledger_state import LedgerState
from tmr.ledger.outcomes import Consumed, Denied, Outcome
from tmr.ledger.promote import promote
from tmr.ledger.state import Session
from tmr.licensing import ProductItem


def consume(ledger_state: LedgerState, command: Consume) -> Outcome:
    """Units, or a denial."""
    repeated = ledger_state.repeated(command)
    if repeated is not None:
        return repeated
    if denied := ledger_state.too_many(command):
        return denied
    outcome = _take(ledger_state, command)
    ledger_state.remember(command, outcome)
    return outcome


def review(ledger_state: LedgerState, command: Consume, time_ms: int) -> Denied | None:
    """Reason why there are no units, or None."""
    found = _source(ledger_state, command, time_ms)
    return found if isinstance(found, Denied) else None


def _source(
    ledger_state: LedgerState, command: Consume, time_ms: int
) -> tuple[Session, ProductItem] | Denied:
    """Licence that the units are taken from; or the reason why they are not."""
    session = ledger_state.seats.sessions.get(command.session)
    if session is None or session.client != command.client:
        return Denied("session-lost", f"there is no session {command.session} of this client")
    merged = ledger_state.containers.licences.get(session.key)
    if merged is None:
        return Denied("licence-unavailable", f"{session.key} is not available")
    denied = ledger_state.usage.invalid(merged.item, time_ms) or ledger_state.usage.too_few(
        merged.item, command.units
    )
    return denied or (session, merged.item)


def _take(ledger_state: LedgerState, command: Consume) -> Outcome:
    found = _source(ledger_state, command, ledger_state.time_ms)
    if isinstance(found, Denied):
        session = ledger_state.seats.sessions.get(command.session)
        if session is not None and session.client == command.client:
            ledger_state.recorder.units_denied(session, command.units, found)
        return found
    session, item = found
    ledger_state.usage.spend(item.key, command.units)
    ledger_state.recorder.units(session, command.units)
    remaining = ledger_state.usage.remaining(item)
    assert remaining is not None  # noqa: S101
    promote(ledger_state, session.product, thorough=True)  # who waits for units may wait in vain now
    return Consumed(session.id, item.key, command.units, remaining)
