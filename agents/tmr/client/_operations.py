# SPDX-License-Identifier: Apache-2.0
"""Operations of the client API: requests to send, and readers of their answers. No I/O.

Source of paths and bodies: the client API's OpenAPI document, `/openapi.json` of a twin.
"""

import datetime as dt
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from tmr.api.access import AccessList
from tmr.api.batch import Batch, BatchResult, Step, StepResult
from tmr.api.borrowing import Borrowing, BorrowingList, BorrowRequest
from tmr.api.errors import BadAnswer, BadRequest
from tmr.api.explain import ExplainRequest, Explanation
from tmr.api.fields import IDEMPOTENCY_HEADER, IDEMPOTENCY_KEY
from tmr.api.licences import Container, ContainerList, ItemList
from tmr.api.operations import Switchover, TimeAccepted, TimeRequest, Trusted, TrustRequest
from tmr.api.problem import Problem
from tmr.api.problems import problem
from tmr.api.sessions import (
    Consumption,
    Heartbeat,
    Heartbeats,
    HeartbeatsRequest,
    QueuePlace,
    Session,
    SessionList,
    SessionRequest,
    UnitsRequest,
)
from tmr.api.status import Status

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

_BASE_MEMBERS: Final = {"type", "title", "status", "detail", "code", "remedy"}
_EXCERPT: Final = 200


@dataclass(frozen=True, slots=True)
class Request:
    """One request, to any server.

    `repeatable`: sent twice, it does what it does once. That holds for reading, and for all that carries an
    idempotency key or names its target.
    """

    method: str
    path: str
    body: bytes = b""
    key: str = ""
    repeatable: bool = True

    @property
    def once(self) -> bool:
        """It takes something, once for all its attempts: the server must remember what came of the first."""
        return self.method == "POST"

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to this request."""
        headers = {"Accept": "application/json, application/problem+json"}
        if self.body:
            headers["Content-Type"] = "application/json"
        if self.key:
            headers[IDEMPOTENCY_HEADER] = self.key
        return headers


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of a server. `retry_after`: seconds, or None."""

    status: int
    body: bytes = b""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A request together with the reader of its answer."""

    request: Request
    read: Callable[[Answer], T]


def problem_of(answer: Answer) -> Problem | None:
    """The problem that an answer tells, or None for a success. Never raises, whatever the body is."""
    if 200 <= answer.status < 300:
        return None
    return Problem.read(answer.body, answer.status)


def containers() -> Operation[tuple[Container, ...]]:
    """The containers that can be seen."""
    return Operation(Request("GET", "/v1/containers"), lambda a: _read(a, ContainerList).containers)


def items(serial: str) -> Operation[ItemList]:
    """Items that the container `serial` holds, and those of constituents that are not available."""
    path = f"/v1/containers/{quote(serial, safe='')}/items"
    return Operation(Request("GET", path), lambda a: _read(a, ItemList))


def open_session(request: SessionRequest, key: str) -> Operation[Session | QueuePlace]:
    """Ask for a licence. The same `key` again gives the same session.

    Gives a `QueuePlace` where the request waits (`request.wait`): ask again with the same key.
    """
    sent = _keyed("POST", "/v1/sessions", request, key)
    return Operation(sent, lambda a: _read(a, QueuePlace) if a.status == 202 else _read(a, Session))


def batch(steps: Iterable[Step]) -> Operation[tuple[StepResult, ...]]:
    """Up to 200 requests in one. Each has its own key, or names its target: repeated, it is done once."""
    body = _checked(Batch, steps=tuple(steps)).model_dump_json(exclude_defaults=True).encode()
    return Operation(Request("POST", "/v1/batch", body), lambda a: _read(a, BatchResult).results)


def consume(session: str, units: int, key: str) -> Operation[Consumption]:
    """Take units from the licence of a session. The same `key` again takes them once."""
    path = f"/v1/sessions/{quote(session, safe='')}/units"
    return Operation(
        _keyed("POST", path, _checked(UnitsRequest, units=units), key), lambda a: _read(a, Consumption)
    )


def borrow(request: BorrowRequest, key: str) -> Operation[Borrowing]:
    """Take a seat out of the network. The same `key` again gives the same borrowing."""
    return Operation(_keyed("POST", "/v1/borrowings", request, key), lambda a: _read(a, Borrowing))


def borrow_file(borrowing: str) -> Operation[bytes]:
    """The signed file of a borrowing."""
    path = f"/v1/borrowings/{quote(borrowing, safe='')}/file"
    return Operation(Request("GET", path), lambda a: a.body)


def borrowings(after: str | None = None) -> Operation[BorrowingList]:
    """The borrowings of this client; with an operator's certificate, everybody's.

    One page; `after`: what the page before has as `next`.
    """
    return Operation(Request("GET", _page("/v1/borrowings", after)), lambda a: _read(a, BorrowingList))


def _page(path: str, after: str | None) -> str:
    return path if after is None else f"{path}?after={quote(after, safe='')}"


def give_back(borrowing: str) -> Operation[None]:
    """End a borrowing early; one that has ended already is no error."""
    return Operation(Request("DELETE", f"/v1/borrowings/{quote(borrowing, safe='')}"), lambda a: None)


def explain(request: ExplainRequest) -> Operation[Explanation]:
    """Prediction for a request."""
    body = request.model_dump_json(exclude_defaults=True).encode()
    return Operation(Request("POST", "/v1/explain", body), lambda a: _read(a, Explanation))


def access() -> Operation[AccessList]:
    """The access list that is in force."""
    return Operation(Request("GET", "/v1/access"), lambda a: _read(a, AccessList))


def set_access(wanted: AccessList, *, check_only: bool = False) -> Operation[AccessList]:
    """Put an access list into force, or only check it. Sent twice, it takes effect once."""
    path = "/v1/access" + ("?check=true" if check_only else "")
    body = wanted.model_dump_json(exclude_none=True).encode()
    return Operation(Request("PUT", path, body), lambda a: _read(a, AccessList))


def _keyed(method: str, path: str, body: BaseModel, key: str) -> Request:
    if not re.fullmatch(IDEMPOTENCY_KEY, key):
        raise ValueError(f"{key!r} is no idempotency key; it must match {IDEMPOTENCY_KEY}")
    return Request(method, path, body.model_dump_json(exclude_defaults=True).encode(), key)


def heartbeat(session: str) -> Operation[Heartbeat]:
    """Keep one session alive."""
    path = f"/v1/sessions/{quote(session, safe='')}/heartbeat"
    return Operation(Request("PUT", path), lambda a: _read(a, Heartbeat))


def heartbeats(sessions: Iterable[str]) -> Operation[Heartbeats]:
    """Keep up to 1000 sessions alive."""
    body = HeartbeatsRequest(sessions=tuple(sessions)).model_dump_json().encode()
    return Operation(Request("POST", "/v1/heartbeats", body), lambda a: _read(a, Heartbeats))


def release(session: str) -> Operation[None]:
    """End a session; one that has ended already is no error."""
    return Operation(Request("DELETE", f"/v1/sessions/{quote(session, safe='')}"), lambda a: None)


def sessions(after: str | None = None) -> Operation[SessionList]:
    """Sessions and queued requests of this client; with an operator's certificate, everybody's.

    One page; `after`: what the page before has as `next`.
    """
    return Operation(Request("GET", _page("/v1/sessions", after)), lambda a: _read(a, SessionList))


def status() -> Operation[Status]:
    """Status that the twin which answers knows."""
    return Operation(Request("GET", "/v1/status"), lambda a: _read(a, Status))


def switchover() -> Operation[Switchover]:
    """The active twin steps down. Not repeatable: a second one would lead back.

    Refused while the other twin could not take over; tried again for the policy's `refusal_patience`.
    """
    request = Request("POST", "/v1/operator/switchover", repeatable=False)
    return Operation(request, lambda a: _read(a, Switchover))


def trust(upstream: str, fingerprint: str) -> Operation[Trusted]:
    """Believe the new container of an upstream. Sent twice, it takes effect once."""
    wanted = _checked(TrustRequest, upstream=upstream, fingerprint=fingerprint)
    request = Request("PUT", "/v1/operator/trust", wanted.model_dump_json().encode())
    return Operation(request, lambda a: _read(a, Trusted))


def accept_time(time: dt.datetime) -> Operation[TimeAccepted]:
    """Have certified time go on from what the clocks show. Sent twice, it takes effect once."""
    wanted = _checked(TimeRequest, time=time)
    request = Request("PUT", "/v1/operator/time", wanted.model_dump_json().encode())
    return Operation(request, lambda a: _read(a, TimeAccepted))


def session_request(**fields: object) -> SessionRequest:
    """A SessionRequest of these fields; raises BadRequest, as the server would."""
    return _checked(SessionRequest, **fields)


def borrow_request(**fields: object) -> BorrowRequest:
    """A BorrowRequest of these fields; raises BadRequest, as the server would."""
    return _checked(BorrowRequest, **fields)


def explain_request(**fields: object) -> ExplainRequest:
    """An ExplainRequest of these fields; raises BadRequest, as the server would."""
    return _checked(ExplainRequest, **fields)


def _checked(kind: type[M], **fields: object) -> M:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        places = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)]
        raise BadRequest(problem("bad-request", "; ".join(places))) from None


def new_key(now_ms: int) -> str:
    """An idempotency key never used before. It begins with the time: ordered keys are cheaper to store."""
    return f"{now_ms:012x}-{secrets.token_urlsafe(12)}"


def _read(answer: Answer, kind: type[M]) -> M:
    try:
        return kind.model_validate_json(answer.body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadAnswer(
            f"The answer is not the expected {kind.__name__}: {place + ': ' if place else ''}{first['msg']}",
            "Check that the address and the port are those of a TMR server, and its version.",
        ) from None
