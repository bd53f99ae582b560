# SPDX-License-Identifier: Apache-2.0
"""Validation of a ledger's state from untrusted input: readable, and nothing lost that only grows."""

from typing import Final

import msgspec

from tmr.ledger.ledger import FIRST, Ledger
from tmr.ledger.record import Head

# What a hostile state can raise while a ledger is made of it; anything else would be our mistake.
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, LookupError, TypeError)


def read(state: bytes, entry_format: int = FIRST, kind: type[Ledger] = Ledger) -> Ledger | str:
    """The ledger of a TMR system in the state that a stranger sent; or why there is none."""
    ledger = kind()
    try:
        ledger.restore(state, entry_format)
    except _UNREADABLE as error:
        return f"the state cannot be read: {type(error).__name__}"
    return ledger


def lost(before: Ledger, after: Ledger) -> str:
    """Text of what the ledger `after` has less of than `before`, which it is to follow; empty: nothing.

    Sessions, borrowings and outcomes come and go. Units taken, the start of a Usage Period, the record, the
    version of the access list and the generations of the containers do not.
    """
    counters = {counter.key: counter for counter in after.counters}
    for old in before.counters:
        new = counters.get(old.key)
        if new is None or new.spent < old.spent:
            return f"the state gives back units of {old.key} that were taken"
        if old.first_use_ms is not None and new.first_use_ms != old.first_use_ms:
            return f"the state moves the start of the Usage Period of {old.key}"
    for firm_code, head in before.heads.items():
        found = after.heads.get(firm_code, Head())
        if found.seq < head.seq or (found.seq == head.seq and found.hash != head.hash):
            return f"the state forgets lines of the record of the firm {firm_code}"
    if after.access_version < before.access_version:
        return "the state goes back to an older access list"
    for upstream, statement in before.statements.items():
        other = after.statements.get(upstream)
        same_key = after.trusted.get(upstream) == before.trusted[upstream]
        if same_key and (other is None or other.generation < statement.generation):
            return f"the state goes back to an older statement of {upstream}"
    return ""
