# SPDX-License-Identifier: Apache-2.0
"""Outcomes: the ledger's answers to commands."""

from typing import Final, Literal

import msgspec

from tmr.ledger.commands import AccessMode
from tmr.licensing import LicenceKey

Reason = Literal[
    "entry-not-found",
    "no-more-licences",
    "exclusive-conflict",
    "licence-expired",
    "licence-not-active",
    "maintenance-ended",
    "feature-missing",
    "not-enough-units",
    "borrow-failed",
    "licence-unavailable",
    "conflicting-key",
    "access-denied",
    "access-list-changed",
    "bad-request",
    "session-lost",
    "overloaded",
]
"""Reason why a command was denied: the slugs of the client API's problems."""


PASSING: Final[frozenset[Reason]] = frozenset({"licence-unavailable", "overloaded"})
"""Reasons that a client gets over by asking again: the API's problems of status 503."""


class _Outcome(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    promoted: tuple["Granted", ...] = ()
    """Sessions that got a seat from the queue by this command."""


class Granted(_Outcome, frozen=True, tag="granted"):
    """The session is held. The same outcome answers every retry of the request."""

    session: str
    key: LicenceKey
    mode: AccessMode
    ttl: int
    granted_ms: int
    in_use: int
    quantity: int | None
    emergency: bool = False
    """It uses an emergency licence, because no ordinary one was free or valid."""
    ends_ms: int | None = None
    """End of the licence's validity at the latest: Expiration Time or end of the Usage Period."""
    remaining: int | None = None
    """Units that remain, where the licence has a Unit Counter."""
    replaced: str = ""
    """The session of the same instance that this one replaced."""


class Waiting(_Outcome, frozen=True, tag="waiting"):
    """The request has a place in the queue of its product."""

    session: str
    """Id of the place, and of the session that will come of it."""
    position: int
    """1 is next. As of this answer."""
    since_ms: int


class Consumed(_Outcome, frozen=True, tag="consumed"):
    """The units are taken. The same outcome answers every retry of the request."""

    session: str
    key: LicenceKey
    units: int
    remaining: int


class Borrowed(_Outcome, frozen=True, tag="borrowed"):
    """The seat is out until `until_ms`. The same outcome answers every retry of the request."""

    borrow: str
    key: LicenceKey
    from_ms: int
    until_ms: int
    in_use: int
    quantity: int | None


class Denied(_Outcome, frozen=True, tag="denied"):
    """The request got nothing. A session of the same instance has ended all the same."""

    reason: Reason
    detail: str
    rule: str = ""
    """The access rule that decided, where one did."""


class Freed(_Outcome, frozen=True, tag="freed"):
    """The session has ended, or left the queue; `existed` False: it had ended before."""

    session: str
    existed: bool


class GivenBack(_Outcome, frozen=True, tag="given-back"):
    """The borrowing has ended; `existed` False: it had ended before."""

    borrow: str
    existed: bool


class ContainersStated(_Outcome, frozen=True, tag="containers-stated"):
    """The merged licences that changed."""

    changed: tuple[LicenceKey, ...]
    rejected: tuple[str, ...]
    """Statements not believed, with the reason, for people."""


class AccessSet(_Outcome, frozen=True, tag="access-set"):
    """The access list is in force."""

    version: int


class DenialsRecorded(_Outcome, frozen=True, tag="denials-recorded"):
    """It is in the record."""


Outcome = (
    Granted
    | Waiting
    | Consumed
    | Borrowed
    | Denied
    | Freed
    | GivenBack
    | ContainersStated
    | AccessSet
    | DenialsRecorded
)


class BatchOutcome(msgspec.Struct, frozen=True, tag="batch-outcome"):
    """The outcomes of commands that share an entry, in their order."""

    outcomes: tuple[Outcome, ...]


def each(outcome: Outcome | BatchOutcome) -> tuple[Outcome, ...]:
    """The outcomes of an entry's commands."""
    return outcome.outcomes if isinstance(outcome, BatchOutcome) else (outcome,)
