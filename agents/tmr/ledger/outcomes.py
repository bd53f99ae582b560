"""What the ledger answers to a command."""

from typing import Literal

import msgspec

from tmr.ledger.commands import AccessMode
from tmr.licensing import LicenceKey

Reason = Literal[
    "entry-not-found",
    "no-more-licences",
    "exclusive-conflict",
    "licence-expired",
    "licence-unavailable",
    "conflicting-key",
    "access-denied",
    "session-lost",
    "overloaded",
]
"""Why a command was denied: the slugs of the client API's problems."""


class Granted(msgspec.Struct, frozen=True, tag="granted"):
    """The session is held. The same outcome answers every retry of the request."""

    session: str
    key: LicenceKey
    mode: AccessMode
    ttl: int
    granted_ms: int
    in_use: int
    quantity: int | None


class Denied(msgspec.Struct, frozen=True, tag="denied"):
    """Nothing changed."""

    reason: Reason
    detail: str


class Freed(msgspec.Struct, frozen=True, tag="freed"):
    """The session has ended; `existed` False: it had ended before."""

    session: str
    existed: bool


class Assembled(msgspec.Struct, frozen=True, tag="assembled"):
    """The merged licences that changed."""

    changed: tuple[LicenceKey, ...]
    rejected: tuple[str, ...]
    """Statements not believed, with the reason, for people."""


Outcome = Granted | Denied | Freed | Assembled
