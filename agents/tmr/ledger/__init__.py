"""The ledger: the deterministic state machine that the journal drives."""

from tmr.ledger.commands import AccessMode, Assemble, Command, Free, Grant, Trust, decode, encode
from tmr.ledger.ledger import Ledger
from tmr.ledger.outcomes import Assembled, Denied, Freed, Granted, Outcome, Reason
from tmr.ledger.state import Session, Use

__all__ = [
    "AccessMode",
    "Assemble",
    "Assembled",
    "Command",
    "Denied",
    "Free",
    "Freed",
    "Grant",
    "Granted",
    "Ledger",
    "Outcome",
    "Reason",
    "Session",
    "Trust",
    "Use",
    "decode",
    "encode",
]
