# SPDX-License-Identifier: Apache-2.0
"""Problems of the client API (RFC 9457): the table `PROBLEMS`.

A server answers with a problem of the table; the client raises the error that belongs to it.
"""

from typing import Any, Final, NamedTuple

from tmr.api.errors import (
    AccessDenied,
    AccessListChanged,
    BadRequest,
    BorrowFailed,
    ConflictingKey,
    EntryNotFound,
    ExclusiveConflict,
    FeatureMissing,
    LicenceExpired,
    LicenceNotActive,
    LicenceUnavailable,
    MaintenanceEnded,
    NoMoreLicences,
    NoQuorum,
    NoService,
    NotActive,
    NotEnoughUnits,
    OutsideTmr,
    Overloaded,
    Refused,
    SessionLost,
    StorageFull,
    TimeInDoubt,
    TmrError,
    TwinNotReady,
    WrongRole,
)
from tmr.api.problem import TYPE_PREFIX, Problem


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
    """Error that the client raises."""
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
        passing=True,
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
    assert issubclass(error, Refused | SessionLost)  # noqa: S101
    return error(problem)
