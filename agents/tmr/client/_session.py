# SPDX-License-Identifier: Apache-2.0
"""The base of the sync and the async session."""

import getpass
import logging
import os
import re
import socket
import sys
from pathlib import Path

from tmr.api.errors import SessionLost, TmrError
from tmr.api.fields import TEXT_MAX, UNFIT
from tmr.api.problems import problem
from tmr.api.sessions import EndedBy, EndedSession, Session, SessionRequest
from tmr.client import _operations

log = logging.getLogger("tmr.client")

_UNPRINTABLE = re.compile(f"[{UNFIT}\\ud800-\\udfff]")


def own_station() -> str:
    """The name of this machine."""
    return fit(socket.gethostname()) or "unknown"


def own_user() -> str:
    """The user whose process this is, or empty."""
    try:
        return fit(getpass.getuser())
    except (OSError, KeyError, ImportError):
        return ""


def own_process() -> str:
    """This program and its process id, such as `simulate[4711]`."""
    return fit(f"{Path(sys.argv[0]).name or 'python'}[{os.getpid()}]")


def fit(text: str) -> str:
    """`text` as a field of a request can have it: printable, and not too long."""
    return _UNPRINTABLE.sub("?", text)[:TEXT_MAX]


class SessionView:
    """One access to one licence, as its program sees it. All of it may be read at any time."""

    licence: Session
    """The server's grant; there as soon as the `with` block has begun."""
    ended: EndedSession | None = None
    """End of the session, once it is lost, where the server remembers it."""

    @property
    def id(self) -> str:
        """Names the session at the server."""
        return self.licence.id

    def __repr__(self) -> str:
        granted = getattr(self, "licence", None)
        return f"<{type(self).__name__} {f'{granted.id}: {granted.label}' if granted else 'not yet granted'}>"


def default_request(**fields: object) -> SessionRequest:
    """A SessionRequest in which None stands for what this process can tell by itself. Raises BadRequest."""
    known = {"station": own_station, "user": own_user, "process": own_process}
    filled = {
        name: known[name]() if value is None and name in known else value for name, value in fields.items()
    }
    return _operations.session_request(**filled)


def log_unreleased(session: Session, error: TmrError) -> None:
    """No server took a licence back; that is no reason to fail."""
    log.warning(
        "session %s could not be released and ends by itself within %d s: %s", session.id, session.ttl, error
    )


def log_lost(session: Session, ended: EndedSession | None) -> None:
    """The server ended a session."""
    log.error("session %s on licence %s was lost%s", session.id, session.label, _how(ended))


def log_unknown(session: Session, silent: float) -> None:
    """No server has confirmed a session for its time to live."""
    log.warning(
        "session %s on licence %s may be lost: no heartbeat was answered for %.0f s, and its time to live is "
        "%d s",
        session.id,
        session.label,
        silent,
        session.ttl,
    )


def log_unavailable(session: Session) -> None:
    """A heartbeat was heard, and the session is not kept alive."""
    log.warning(
        "session %s is not kept alive, because too few constituents of the licence %s are available; it ends "
        "within %d s unless that changes",
        session.id,
        session.label,
        session.ttl,
    )


def log_kept_by_parent(session: Session) -> None:
    """A forked child left the block of its parent's session."""
    log.info(
        "session %s on licence %s is not given back: it belongs to the process that this one was forked from",
        session.id,
        session.label,
    )


def lost_error(session: Session, ended: EndedSession | None) -> SessionLost:
    """Error that `check` raises."""
    detail = f"Session {session.id} on {session.label} has ended{_how(ended)}"
    return SessionLost(problem("session-lost", detail, ended=ended))


def _how(ended: EndedSession | None) -> str:
    if ended is None:
        return ""
    match ended.by:
        case EndedBy.OPERATOR:
            return f": {ended.who} ended it"
        case EndedBy.REPLACED:
            return ": the same instance of the program asked again"
        case EndedBy.EXPIRY:
            return ": no heartbeat came for its time to live"
        case EndedBy.RELEASE:
            return ": it was released"
        case EndedBy.LICENCE_EXPIRED:
            return ": the licence has expired"
        case EndedBy.LICENCE_NOT_ACTIVE:
            return ": the licence is not valid yet"
        case EndedBy.LICENCE_REMOVED:
            return ": the licence was removed by an update"
        case EndedBy.LICENCE_UNAVAILABLE:
            return ": too few constituents of the licence were available"
