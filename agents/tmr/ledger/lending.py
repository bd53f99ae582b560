# SPDX-License-Identifier: Apache-2.0
"""Carries out `Borrow` and `GiveBack`."""

from tmr.ledger.choose import LicenceQuery
from tmr.ledger.commands import Borrow, GiveBack
from tmr.ledger.ledger_state import LedgerState
from tmr.ledger.outcomes import Borrowed, Denied, GivenBack, Outcome
from tmr.ledger.promote import blocked, promote
from tmr.ledger.state import Borrowing
from tmr.licensing import ProductItem


def borrow(ledger_state: LedgerState, command: Borrow) -> Outcome:
    """A seat leaves the network, or a denial."""
    repeated = ledger_state.repeated(command)
    if repeated is not None:
        return repeated
    if denied := ledger_state.too_many(command):
        return denied
    if command.borrow in ledger_state.seats.borrowings:
        return Denied("conflicting-key", f"borrowing {command.borrow} exists already")
    reserved = blocked(ledger_state, command.product, ledger_state.time_ms)
    choice = ledger_state.chooser.choose(LicenceQuery.by(command), ledger_state.time_ms, reserved)
    outcome: Outcome
    if isinstance(choice, ProductItem):
        outcome = _lend(ledger_state, command, choice)
    else:
        outcome = choice.denied
        ledger_state.recorder.denied(command, outcome)
    ledger_state.remember(command, outcome)
    if isinstance(outcome, Borrowed):
        promote(ledger_state, command.product)
    return outcome


def _lend(ledger_state: LedgerState, command: Borrow, item: ProductItem) -> Borrowed:
    ledger_state.use(item)
    until = ledger_state.time_ms + command.seconds * 1000
    ends = ledger_state.usage.ends_ms(item)
    borrowing = Borrowing(
        command.borrow,
        command.client,
        item.key,
        command.borrower,
        command.station,
        command.user,
        command.address,
        ledger_state.time_ms,
        until if ends is None else min(until, ends),
    )
    ledger_state.seats.lend(borrowing)
    ledger_state.recorder.borrowed(borrowing)
    return Borrowed(
        borrowing.id,
        item.key,
        ledger_state.time_ms,
        borrowing.until_ms,
        ledger_state.seats.use(item.key).seats,
        item.quantity,
    )


def give_back(ledger_state: LedgerState, command: GiveBack) -> Outcome:
    """The seat comes back."""
    borrowing = ledger_state.seats.borrowings.get(command.borrow)
    if borrowing is None:
        return GivenBack(command.borrow, existed=False)
    if command.client not in (None, borrowing.client):
        return Denied("access-denied", "the borrowing belongs to another client")
    ledger_state.seats.take_back(borrowing)
    ledger_state.recorder.returned(borrowing, command.by, command.who)
    promote(ledger_state, borrowing.product)
    return GivenBack(command.borrow, existed=True)
