# SPDX-License-Identifier: Apache-2.0
"""Carries out `Grant` and `Free`."""

from tmr.ledger import session
from tmr.ledger.choose import Denial, LicenceQuery
from tmr.ledger.commands import Free, Grant
from tmr.ledger.ledger_state import LedgerState
from tmr.ledger.outcomes import Denied, Freed, Granted, Outcome, Waiting
from tmr.ledger.promote import blocked, leave, promote, promote_passed_over
from tmr.ledger.state import Waiter
from tmr.licensing import LicenceKey, ProductItem


def grant(ledger_state: LedgerState, asked: Grant) -> Outcome:
    """A session, a place in the queue, or a denial."""
    repeated = ledger_state.repeated(asked)
    if isinstance(repeated, Waiting):
        _bring_up_to_date(ledger_state, repeated.session, asked)
        repeated = ledger_state.repeated(asked)
    if isinstance(repeated, Waiting) and not asked.wait:
        promote(ledger_state, asked.product, thorough=True)
        repeated = ledger_state.repeated(asked)
        if isinstance(repeated, Waiting):
            return _give_up(ledger_state, repeated.session)
    if repeated is not None:
        return repeated
    if denied := ledger_state.too_many(asked):
        return denied
    if asked.session in ledger_state.seats.sessions or asked.session in ledger_state.queues.places:
        return Denied("conflicting-key", f"session {asked.session} exists already")
    former = former_of(ledger_state, asked)
    replaced, kept = _replace(ledger_state, asked, former)
    reserved = blocked(ledger_state, asked.product, ledger_state.time_ms) - {kept}
    choice, again = ledger_state.chooser.choose_again(asked, ledger_state.time_ms, reserved)
    outcome: Outcome
    if isinstance(choice, ProductItem):
        outcome = session.begin(ledger_state, asked, choice, again, replaced)
    elif asked.wait and choice.queues and not ledger_state.queues.full(asked.product, asked.client):
        outcome = _queue(ledger_state, asked)
    else:
        outcome = choice.denied
        ledger_state.recorder.denied(asked, outcome)
    if not isinstance(outcome, Waiting):
        ledger_state.remember(asked, outcome)
    if former is not None or isinstance(outcome, Granted):
        promote(ledger_state, asked.product, thorough=asked.units > 0)
    if former is not None and not isinstance(outcome, Granted):
        promote_passed_over(ledger_state)  # a session ended, and none took its place
    return outcome


def _bring_up_to_date(ledger_state: LedgerState, place: str, asked: Grant) -> None:
    """Offers the licences that are available by now to those that wait."""
    if asked.keys and ledger_state.queues.waiter(place).grant.keys != asked.keys:
        ledger_state.queues.update(place, asked.keys)
        promote(ledger_state, asked.product, thorough=True)


def _give_up(ledger_state: LedgerState, place: str) -> Denied:
    """Ends a wait: denied, unless the place has become a session before.

    One command decides which of the two it is. Were the place given up by its id, a seat that came just then
    would be thrown away, with the units that were taken for it.
    """
    waiter = ledger_state.queues.waiter(place).grant
    reserved = blocked(ledger_state, waiter.product, ledger_state.time_ms)
    choice = ledger_state.chooser.choose(LicenceQuery.by(waiter), ledger_state.time_ms, reserved)
    leave(ledger_state, place, "release")
    denied = Denied("session-lost", "the place in the queue was given up")
    if isinstance(choice, Denial):  # always: nobody waits who could have a seat
        denied = choice.denied
    ledger_state.recorder.denied(waiter, denied)
    ledger_state.remember(waiter, denied)
    promote(ledger_state, waiter.product)
    return denied


def former_of(ledger_state: LedgerState, asked: Grant) -> str | None:
    """The session, or place in the queue, that the same instance of the application had."""
    if not asked.instance:
        return None
    return ledger_state.seats.of_instance(asked.run_place) or ledger_state.queues.of_instance(asked.run_place)


def _replace(ledger_state: LedgerState, asked: Grant, former: str | None) -> tuple[str, LicenceKey | None]:
    """End what the instance had: it crashed and asks again. The session that ended, and whose seat it keeps.

    It keeps its seat before all waiting requests, if it asks for the same kind of access. Otherwise it queues
    like all others; so it does if it only had a place in the queue.
    """
    if former is None:
        return "", None
    held = ledger_state.seats.sessions.get(former)
    if held is None:
        leave(ledger_state, former, "replaced", asked.session)
    else:
        session.end(ledger_state, held, "replaced", asked.session)
        if held.mode == asked.mode:
            return former, held.key
    promote(ledger_state, asked.product)
    return ("" if held is None else former), None


def _queue(ledger_state: LedgerState, asked: Grant) -> Waiting:
    ledger_state.queues.add(Waiter(asked, ledger_state.time_ms))
    ledger_state.recorder.queued(asked)
    return Waiting(asked.session, ledger_state.queues.position(asked.session) or 0, ledger_state.time_ms)


def free(ledger_state: LedgerState, command: Free) -> Outcome:
    """End a session, or give up a place in the queue."""
    place = command.session
    if place in ledger_state.queues.places:
        waiter = ledger_state.queues.waiter(place).grant
        if command.client not in (None, waiter.client):
            return Denied("access-denied", "the place in the queue belongs to another client")
        leave(ledger_state, place, command.by, command.who)
        promote(ledger_state, waiter.product)
        return Freed(place, existed=True)
    held = ledger_state.seats.sessions.get(command.session)
    if held is None:
        return Freed(command.session, existed=False)
    if command.client not in (None, held.client):
        return Denied("access-denied", "the session belongs to another client")
    had_too_many = ledger_state.chooser.too_many(held.client)
    session.end(ledger_state, held, command.by, command.who)
    if had_too_many:
        ledger_state.passed_over.add(held.product)
        promote_passed_over(ledger_state)
    else:
        promote(ledger_state, held.product)
    return Freed(held.id, existed=True)
