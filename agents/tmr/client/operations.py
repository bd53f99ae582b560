"""What can be asked of the client API: requests to send and how to read their answers. No I/O.

Source of paths and bodies: the client API's OpenAPI document, `/openapi.json` of a twin.
"""

import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from tmr.client.models import (
    IDEMPOTENCY_HEADER,
    IDEMPOTENCY_KEY,
    Container,
    ContainerList,
    Heartbeat,
    Heartbeats,
    HeartbeatsRequest,
    HeldSession,
    ItemList,
    Problem,
    Session,
    SessionList,
    SessionRequest,
    Status,
    Switchover,
)
from tmr.client.problems import BadAnswer, BadRequest, problem

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

_BASE_MEMBERS: Final = {"type", "title", "status", "detail", "code", "remedy"}
_EXCERPT: Final = 200


@dataclass(frozen=True, slots=True)
class Request:
    """One request, whoever it goes to.

    `repeatable`: sent twice, it does what it does once. That holds for reading, and for all that carries an
    idempotency key or names its target.
    """

    method: str
    path: str
    body: bytes = b""
    key: str = ""
    repeatable: bool = True

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
    """What came back. `retry_after`: seconds, or None."""

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
    try:
        return Problem.model_validate_json(answer.body)
    except ValidationError:
        pass
    try:
        # A newer server may explain in a form that this version cannot read: keep what matters.
        return _Essence.model_validate_json(answer.body).problem()
    except ValidationError:
        text = answer.body[:_EXCERPT].decode("utf-8", "replace")
        said = re.sub(r"[^\x20-\x7e]+", " ", text).strip()
        return Problem(
            type="about:blank",
            title="The answer is no problem document",
            status=answer.status if 100 <= answer.status <= 599 else 500,
            detail=f"HTTP status {answer.status} without an explanation{': ' + said if said else ''}",
            remedy="Check that the address and the port are those of a TMR server.",
        )


class _Essence(BaseModel):
    type: str
    title: str
    status: int
    detail: str = ""
    code: int | None = None
    remedy: str = ""

    def problem(self) -> Problem:
        return Problem.model_construct(**self.model_dump())


def containers() -> Operation[tuple[Container, ...]]:
    """The containers that can be seen."""
    return Operation(Request("GET", "/v1/containers"), lambda a: _read(a, ContainerList).containers)


def items(serial: str) -> Operation[ItemList]:
    """What the container `serial` holds, and what it would hold if its constituents were available."""
    path = f"/v1/containers/{quote(serial, safe='')}/items"
    return Operation(Request("GET", path), lambda a: _read(a, ItemList))


def open_session(request: SessionRequest, key: str) -> Operation[Session]:
    """Ask for a licence. The same `key` again gives the same session."""
    if not re.fullmatch(IDEMPOTENCY_KEY, key):
        raise ValueError(f"{key!r} is no idempotency key; it must match {IDEMPOTENCY_KEY}")
    body = request.model_dump_json(exclude_none=True).encode()
    return Operation(Request("POST", "/v1/sessions", body, key), lambda a: _read(a, Session))


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


def sessions() -> Operation[tuple[HeldSession, ...]]:
    """The sessions of this client; with an operator's certificate, everybody's."""
    return Operation(Request("GET", "/v1/sessions"), lambda a: _read(a, SessionList).sessions)


def status() -> Operation[Status]:
    """What the twin that answers knows."""
    return Operation(Request("GET", "/v1/status"), lambda a: _read(a, Status))


def switchover() -> Operation[Switchover]:
    """The active twin steps down. Not repeatable: a second one would lead back."""
    request = Request("POST", "/v1/operator/switchover", repeatable=False)
    return Operation(request, lambda a: _read(a, Switchover))


def session_request(**fields: object) -> SessionRequest:
    """A SessionRequest of these fields; raises BadRequest, as the server would."""
    try:
        return SessionRequest.model_validate(fields)
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
