# SPDX-License-Identifier: Apache-2.0
"""Errors that the client raises: all are a `TmrError`.

TmrError
├── ConfigError             client.toml, or a file that it names, cannot be used
├── Untrusted               mutual TLS failed: one end does not trust the other's certificate
├── BadAnswer               what answered is no TMR server of this version
├── OtherProcess            the client belongs to the process that this one was forked from
├── NoService               nobody answered in time; `reasons`: what each twin said
│   ├── NotActive           … the twins that answer are passive
│   ├── NoQuorum            … they have no majority of upstreams
│   └── Overloaded          … there is too much to do
├── SessionLost             the session has ended at the server
└── Refused                 a clear no; `problem`: the server's explanation
    ├── EntryNotFound       no such licence
    ├── NoMoreLicences      all seats are taken; `problem.holders`: the sessions that have them
    ├── ExclusiveConflict   an exclusive session is asked for or held
    ├── AccessDenied        this client may not use the licence
    ├── LicenceExpired      past its Expiration Time or Usage Period
    ├── LicenceNotActive    before its Activation Time
    ├── MaintenanceEnded    the version was released outside the Maintenance Period
    ├── FeatureMissing      the Feature Map lacks a bit that was asked for
    ├── NotEnoughUnits      fewer units are left than were asked for
    ├── BorrowFailed        the licence cannot be borrowed like this, or its file is not signed
    ├── AccessListChanged   somebody else changed the access list meanwhile
    ├── TwinNotReady        the other twin could not take over at once
    ├── LicenceUnavailable  fewer than two constituents; `problem.constituents`: what is missing where
    ├── StorageFull         the upstreams' disks are nearly full: nothing new is stored
    ├── TimeInDoubt         the clocks jumped by more than a day, and nothing confirms that
    ├── OutsideTmr          a licence with a TMR-Id, asked for at an upstream
    ├── WrongRole           the certificate's role may not do this
    ├── ConflictingKey      an idempotency key used before for something else
    └── BadRequest          the request is ill-formed
"""

from collections.abc import Sequence
from typing import NamedTuple

from tmr.api.problem import Problem


class TmrError(Exception):
    """Base of all. `remedy`: what to do about it, a sentence, or empty."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message.rstrip('.')}. {self.remedy}".rstrip()


class ConfigError(TmrError):
    """The configuration cannot be used."""


class Untrusted(TmrError):
    """Mutual TLS failed: one end does not trust the other's certificate."""


class BadAnswer(TmrError):
    """The answer is of no TMR server, or of a version that this client does not understand."""


class OtherProcess(TmrError):
    """The client belongs to the process that this one was forked from, and so do its sessions."""


class TwinAnswer(NamedTuple):
    """Answer of the twin at one of its own addresses, when the virtual address was silent."""

    address: str
    problem: Problem | None
    """Its explanation, or None if it gave none."""
    error: str
    """Reason why it did not answer, or empty."""


class NoService(TmrError):
    """No server answered in time. It is not known whether the last request was carried out.

    `problem`: the best explanation that any twin gave, or None. `reasons`: what each of them said. `heard`:
    how the last attempt failed, such as `connection refused`, or empty.
    """

    def __init__(
        self,
        message: str,
        remedy: str = "",
        *,
        problem: Problem | None = None,
        reasons: Sequence[TwinAnswer] = (),
        heard: str = "",
    ) -> None:
        super().__init__(message, remedy)
        self.heard = heard
        self.problem = problem
        self.reasons = tuple(reasons)


class NotActive(NoService):
    """The twins that answer are passive."""


class NoQuorum(NoService):
    """The twins that answer have no majority of upstreams."""


class Overloaded(NoService):
    """The server had too much to do, all the time."""


class _Answered(TmrError):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title, problem.remedy)
        self.problem = problem


class SessionLost(_Answered):
    """The session has ended at the server: it expired, was released, or never was this client's."""


class Refused(_Answered):
    """A clear no; asking again without a change will not help."""


class EntryNotFound(Refused):
    """No such licence."""


class NoMoreLicences(Refused):
    """All seats are taken."""


class ExclusiveConflict(Refused):
    """One wants the licence for itself alone, another has it."""


class AccessDenied(Refused):
    """This client may not use the licence."""


class LicenceExpired(Refused):
    """The licence is past its Expiration Time or Usage Period."""


class LicenceNotActive(Refused):
    """The licence is before its Activation Time."""


class MaintenanceEnded(Refused):
    """The application's version was released outside the Maintenance Period."""


class FeatureMissing(Refused):
    """The Feature Map of the licence lacks a bit that was asked for."""


class NotEnoughUnits(Refused):
    """Fewer units are left than were asked for, or the licence has no Unit Counter."""


class BorrowFailed(Refused):
    """The licence cannot be borrowed like this, or too few upstreams sign the borrow file."""


class AccessListChanged(Refused):
    """Another operator changed the access list meanwhile."""


class TwinNotReady(Refused):
    """The other twin could not take over at once: a switchover would be an outage."""


class LicenceUnavailable(Refused):
    """Fewer than two constituents of the licence are available."""


class StorageFull(Refused):
    """Too many upstreams are short of disk space to store anything new."""


class TimeInDoubt(Refused):
    """The clocks show a time that nothing confirms: nothing new is decided."""


class OutsideTmr(Refused):
    """A licence with a TMR-Id, asked for at an upstream."""


class WrongRole(Refused):
    """The certificate's role may not do this."""


class ConflictingKey(Refused):
    """An idempotency key that was used before for something else."""


class BadRequest(Refused):
    """The request is ill-formed."""
