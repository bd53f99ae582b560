"""Problems of the client API (RFC 9457), and the client's errors for them.

`PROBLEMS` lists every problem of the client API: a server answers with it, the client raises what belongs to
it. Everything that the client raises is a `TmrError`:

    TmrError
    ├── ConfigError             client.toml, or a file that it names, cannot be used
    ├── Untrusted               mutual TLS failed: one end does not trust the other's certificate
    ├── BadAnswer               what answered is no TMR server of this version
    ├── NoService               nobody answered in time; `reasons`: what each twin said
    │   ├── NotActive           … the twins that answer are passive
    │   ├── NoQuorum            … they have no majority of upstreams
    │   └── Overloaded          … there is too much to do
    ├── SessionLost             the session has ended at the server
    └── Refused                 a clear no; `problem`: the server's explanation
        ├── EntryNotFound       no such licence
        ├── NoMoreLicences      all seats are taken; `problem.holders`: by whom
        ├── ExclusiveConflict   one wants the licence for itself alone, another has it
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
from typing import Any, Final, NamedTuple

from tmr.api.models import Problem

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:tmr:problem:"


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
    """What answered is no TMR server, or one of a version that this client does not understand."""


class TwinAnswer(NamedTuple):
    """What the twin at one of its own addresses said, when the virtual address was silent."""

    address: str
    problem: Problem | None
    """Its explanation, or None if it gave none."""
    error: str
    """Why it did not answer, or empty."""


class NoService(TmrError):
    """Nobody answered in time. It is not known whether the last request was carried out.

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
    """Somebody else changed the access list meanwhile."""


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


class ProblemType(NamedTuple):
    """One problem of the client API."""

    slug: str
    status: int
    """HTTP status."""
    code: int | None
    """CodeMeter's number, where one exists."""
    title: str
    remedy: str
    """The default; a server that knows more says more."""
    error: type[TmrError]
    """What the client raises."""
    passing: bool = False
    """Likely over in a moment: a client asks again until its patience ends."""

    @property
    def type(self) -> str:
        """The problem's URN."""
        return TYPE_PREFIX + self.slug


_ALL: Final = (
    ProblemType(
        "entry-not-found",
        404,
        200,
        "No such licence",
        "Check Firm Code, Product Code and TMR-Id against `tmr list`.",
        EntryNotFound,
    ),
    ProblemType(
        "no-more-licences",
        409,
        212,
        "All seats are taken",
        "Wait until one of the holders is done, or ask one of them.",
        NoMoreLicences,
    ),
    ProblemType(
        "exclusive-conflict",
        409,
        213,
        "The licence is used exclusively",
        "Wait until the holder is done; exclusive access needs a licence that nobody else uses.",
        ExclusiveConflict,
    ),
    ProblemType(
        "access-denied",
        403,
        231,
        "Access denied",
        "Ask the operator of the licence server for access.",
        AccessDenied,
    ),
    ProblemType(
        "licence-expired",
        409,
        None,
        "The licence has expired",
        "Ask the vendor for an update of the licence.",
        LicenceExpired,
    ),
    ProblemType(
        "licence-not-active",
        409,
        None,
        "The licence is not valid yet",
        "Wait until its Activation Time, or ask the vendor for an update of the licence.",
        LicenceNotActive,
    ),
    ProblemType(
        "maintenance-ended",
        409,
        None,
        "This version is outside the Maintenance Period",
        "Use a version that was released within the Maintenance Period, or ask the vendor to extend it.",
        MaintenanceEnded,
    ),
    ProblemType(
        "feature-missing",
        409,
        None,
        "The licence lacks a feature",
        "Ask the vendor for a licence with this module, or do without the module.",
        FeatureMissing,
    ),
    ProblemType(
        "not-enough-units",
        409,
        None,
        "Too few units are left",
        "Ask the vendor for an update that adds units.",
        NotEnoughUnits,
    ),
    ProblemType(
        "borrow-failed",
        409,
        None,
        "The licence cannot be borrowed like this",
        "Borrow for a shorter time, wait until a borrowed seat comes back, or ask the vendor.",
        BorrowFailed,
    ),
    ProblemType(
        "borrowing-ended",
        404,
        None,
        "No such borrowing",
        "Look at `tmr borrowed` for what is borrowed.",
        EntryNotFound,
    ),
    ProblemType(
        "container-refused",
        409,
        None,
        "The container cannot be trusted",
        "Compare with `tmr-upstream status` on that machine.",
        Refused,
    ),
    ProblemType(
        "twin-not-ready",
        409,
        None,
        "The other twin could not take over",
        "Look at `tmr status`; to take the active twin out of service all the same, stop its tmr-server.",
        TwinNotReady,
        passing=True,
    ),
    ProblemType(
        "access-list-changed",
        409,
        None,
        "The access list was changed meanwhile",
        "Read it again, make the change there, and send it with its version.",
        AccessListChanged,
    ),
    ProblemType(
        "licence-unavailable",
        503,
        None,
        "Too few constituents of the licence are available",
        "Two of the three upstreams must be up and hold an identical licence: repair what is missing.",
        LicenceUnavailable,
        passing=True,
    ),
    ProblemType(
        "no-quorum",
        503,
        None,
        "No majority of upstreams can be reached",
        "Two of the three upstreams must be up and reachable from this twin: start or repair them.",
        NoQuorum,
        passing=True,
    ),
    ProblemType(
        "not-active",
        503,
        None,
        "This server is not active",
        "Ask at the virtual address.",
        NotActive,
        passing=True,
    ),
    ProblemType(
        "session-lost",
        404,
        None,
        "No such session",
        "Ask for a new session.",
        SessionLost,
    ),
    ProblemType(
        "bad-request",
        422,
        None,
        "The request is ill-formed",
        "Correct what the detail names and ask again.",
        BadRequest,
    ),
    ProblemType(
        "wrong-role",
        403,
        None,
        "The certificate does not allow this",
        "Use a certificate of the right role: `client` for licences, `operator` for operations.",
        WrongRole,
    ),
    ProblemType(
        "overloaded",
        503,
        None,
        "Too much to do",
        "Ask again a little later.",
        Overloaded,
        passing=True,
    ),
    ProblemType(
        "storage-full",
        503,
        None,
        "The disks of the licence system are nearly full",
        "Make room on the upstreams that the detail names; what is held can be used and given back.",
        StorageFull,
        passing=True,
    ),
    ProblemType(
        "time-in-doubt",
        503,
        None,
        "The licence system does not know what time it is",
        "Have an operator look at `tmr status`: set the clocks right, or accept what they show with "
        "`tmr accept-time`.",
        TimeInDoubt,
        passing=True,
    ),
    ProblemType(
        "time-refused",
        409,
        None,
        "The time is not accepted",
        "Compare with `tmr status`, and give the time that the clocks show, if it is right.",
        Refused,
    ),
    ProblemType(
        "tmr-id-outside-tmr",
        403,
        None,
        "A licence with a TMR-Id is not given out outside its TMR system",
        "Ask at the virtual address of the TMR servers.",
        OutsideTmr,
    ),
    ProblemType(
        "borrow-not-signed",
        409,
        None,
        "The borrow file is not signed",
        "Two of the three upstreams must sign it: repair what the detail names, and fetch the file again.",
        BorrowFailed,
    ),
    ProblemType(
        "conflicting-key",
        409,
        None,
        "The idempotency key belongs to another request",
        "Use a new key for each new request, and the old one only to repeat the same.",
        ConflictingKey,
    ),
)

PROBLEMS: Final[dict[str, ProblemType]] = {problem.slug: problem for problem in _ALL}
"""Every problem of the client API, by its slug."""


def problem(slug: str, detail: str, remedy: str = "", **members: Any) -> Problem:
    """The problem `slug` of the table, with what is special in this case; `members`: constituents, …"""
    kind = PROBLEMS[slug]
    return Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=detail,
        code=kind.code,
        remedy=remedy or kind.remedy,
        **members,
    )


def to_error(problem: Problem) -> TmrError:
    """The exception that belongs to a server's problem; an unknown one of status 5xx is `NoService`."""
    kind = PROBLEMS.get(problem.slug)
    error = kind.error if kind else NoService if problem.status >= 500 else Refused
    if issubclass(error, NoService):
        return error(problem.detail or problem.title, problem.remedy, problem=problem)
    assert issubclass(error, _Answered)  # noqa: S101
    return error(problem)
