"""The client API: JSON over HTTPS, errors as problem documents (RFC 9457)."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from fastapi import FastAPI, Request, Response
from prometheus_client import Counter
from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tmr.api.access import AccessList
from tmr.api.models import (
    IDEMPOTENCY_HEADER,
    IDEMPOTENCY_KEY,
    PAGE_MAX,
    Batch,
    BatchResult,
    Borrowing,
    BorrowingList,
    BorrowRequest,
    Consumption,
    ContainerList,
    ExplainRequest,
    Explanation,
    Heartbeat,
    Heartbeats,
    HeartbeatsRequest,
    ItemList,
    QueuePlace,
    Session,
    SessionList,
    SessionRequest,
    Status,
    TimeAccepted,
    TimeRequest,
    UnitsRequest,
)
from tmr.http.metrics import Metrics
from tmr.http.openapi import (
    ANYONE,
    DECIDING,
    HOLDING,
    JOURNAL,
    OPERATORS,
    WISHING,
    After,
    BorrowingName,
    Limit,
    Serial,
    SessionName,
    documented,
)
from tmr.http.status_page import page
from tmr.net.body import read_body
from tmr.net.identity import Identity
from tmr.net.problem import bad_request
from tmr.net.server import demand, peer_of, public_key_of
from tmr.service.licence_service import LicenceService

BODY_LIMIT: Final = 256 * 1024
"""Bytes of a request's body: a thousand session ids of 128 characters fit."""
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
HOT: Final = frozenset(
    {
        ("POST", "/v1/sessions"),
        ("DELETE", "/v1/sessions/{session}"),
        ("PUT", "/v1/sessions/{session}/heartbeat"),
        ("POST", "/v1/sessions/{session}/units"),
        ("POST", "/v1/heartbeats"),
        ("POST", "/v1/batch"),
    }
)
"""Asked all the time."""
_KEY: Final = re.compile(IDEMPOTENCY_KEY)

M = TypeVar("M", bound=BaseModel)


def client_routes(app: FastAPI, licence_service: LicenceService) -> None:
    """Bodies are read and answers written by hand: FastAPI's own way costs more than the rest."""
    _licence_routes(app, licence_service)
    _session_routes(app, licence_service)
    _borrow_routes(app, licence_service)
    _access_routes(app, licence_service)
    _time_route(app, licence_service)


def _licence_routes(app: FastAPI, licence_service: LicenceService) -> None:
    @app.get(
        "/v1/containers",
        response_model=ContainerList,
        tags=["licences"],
        openapi_extra=documented(*JOURNAL),
    )
    async def containers(request: Request) -> Response:
        """The virtual container."""
        _client(request)
        return answer(ContainerList(containers=(await licence_service.catalogue.container(),)))

    @app.get(
        "/v1/containers/{serial}/items",
        response_model=ItemList,
        tags=["licences"],
        openapi_extra=documented("entry-not-found", *JOURNAL),
    )
    async def items(request: Request, serial: Serial) -> Response:
        """The licences that can be used, and those that cannot, with the reason."""
        _client(request)
        return answer(await licence_service.catalogue.items(serial))

    @app.post(
        "/v1/explain",
        response_model=Explanation,
        tags=["licences"],
        openapi_extra=documented("time-in-doubt", *JOURNAL, takes=ExplainRequest),
    )
    async def explain(request: Request) -> Response:
        """What would happen to a request, and why. Nothing changes."""
        peer = _client(request)
        asked = await body_of(request, ExplainRequest)
        return answer(await licence_service.explainer.explain(peer, _address(request), asked))


def _session_routes(app: FastAPI, licence_service: LicenceService) -> None:
    service = licence_service.service

    @app.post(
        "/v1/sessions",
        response_model=Session,
        status_code=201,
        responses={202: {"model": QueuePlace, "description": "A place in the queue (`wait`): ask again"}},
        tags=["sessions"],
        openapi_extra=documented(
            *WISHING, "not-enough-units", "session-lost", takes=SessionRequest, key=True
        ),
    )
    async def open_session(request: Request) -> Response:
        """One access to one licence. The same key again: the same session, or place in the queue."""
        peer = _client(request)
        asked = await body_of(request, SessionRequest)
        found = await service.grant(peer, _address(request), _request_id(request), asked)
        return answer(found, 201 if isinstance(found, Session) else 202)

    @app.get(
        "/v1/sessions",
        response_model=SessionList,
        tags=["sessions"],
        openapi_extra=documented(*JOURNAL),
    )
    async def sessions(request: Request, limit: Limit = PAGE_MAX, after: After = None) -> Response:
        """The own sessions, then the own places in queues, the oldest first; an operator sees everybody's."""
        return answer(await service.held(_client(request), limit, after))

    @app.put(
        "/v1/sessions/{session}/heartbeat",
        response_model=Heartbeat,
        tags=["sessions"],
        openapi_extra=documented(*HOLDING),
    )
    async def heartbeat(request: Request, session: SessionName) -> Response:
        """Keep a session alive."""
        return answer(await service.heartbeat(_client(request), session))

    @app.post(
        "/v1/heartbeats",
        response_model=Heartbeats,
        tags=["sessions"],
        openapi_extra=documented(takes=HeartbeatsRequest),
    )
    async def heartbeats(request: Request) -> Response:
        """Keep many sessions alive."""
        peer = _client(request)
        asked = await body_of(request, HeartbeatsRequest)
        return answer(await service.heartbeats(peer, asked.sessions))

    @app.post(
        "/v1/sessions/{session}/units",
        response_model=Consumption,
        tags=["sessions"],
        openapi_extra=documented(
            *HOLDING, *DECIDING, "not-enough-units", "conflicting-key", takes=UnitsRequest, key=True
        ),
    )
    async def consume(request: Request, session: SessionName) -> Response:
        """Take units from the licence of a session. The same key again takes them once."""
        peer = _client(request)
        asked = await body_of(request, UnitsRequest)
        return answer(await service.consume(peer, _request_id(request), session, asked.units))

    @app.post(
        "/v1/batch",
        response_model=BatchResult,
        tags=["sessions"],
        openapi_extra=documented(takes=Batch),
    )
    async def batch(request: Request) -> Response:
        """Many requests of one application in one. Each is decided for itself; see the result of each."""
        peer = _client(request)
        asked = await body_of(request, Batch)
        return answer(await licence_service.batches.carry_out(peer, _address(request), asked.steps))

    @app.delete(
        "/v1/sessions/{session}",
        status_code=204,
        tags=["sessions"],
        openapi_extra=documented("access-denied", *JOURNAL),
    )
    async def release(request: Request, session: SessionName) -> Response:
        """End a session, or leave the queue. One that has ended already is no error."""
        await service.release(_client(request), session)
        return Response(status_code=204)


def _borrow_routes(app: FastAPI, licence_service: LicenceService) -> None:
    lending = licence_service.lending

    @app.post(
        "/v1/borrowings",
        response_model=Borrowing,
        status_code=201,
        tags=["borrowing"],
        openapi_extra=documented(*WISHING, "borrow-failed", "borrowing-ended", takes=BorrowRequest, key=True),
    )
    async def borrow(request: Request) -> Response:
        """Take a seat out of the network for a bounded time. The same key again: the same borrowing."""
        peer = _client(request)
        asked = await body_of(request, BorrowRequest)
        found = await lending.borrow(
            peer, _address(request), public_key_of(request), _request_id(request), asked
        )
        return answer(found, 201)

    @app.get(
        "/v1/borrowings",
        response_model=BorrowingList,
        tags=["borrowing"],
        openapi_extra=documented(*JOURNAL),
    )
    async def borrowings(request: Request, limit: Limit = PAGE_MAX, after: After = None) -> Response:
        """The own borrowings, the oldest first; an operator sees everybody's."""
        return answer(await lending.list(_client(request), limit, after))

    @app.get(
        "/v1/borrowings/{borrowing}/file",
        response_class=JSONResponse,
        tags=["borrowing"],
        openapi_extra=documented("borrowing-ended", "access-denied", "borrow-not-signed", *JOURNAL),
    )
    async def borrow_file(request: Request, borrowing: BorrowingName) -> Response:
        """The signed file of a borrowing, to be used without the network. Any number of times."""
        data = await lending.file(_client(request), borrowing)
        return Response(data, media_type="application/json")

    @app.delete(
        "/v1/borrowings/{borrowing}",
        status_code=204,
        tags=["borrowing"],
        openapi_extra=documented("access-denied", *JOURNAL),
    )
    async def give_back(request: Request, borrowing: BorrowingName) -> Response:
        """End a borrowing early. One that has ended already is no error."""
        await lending.give_back(_client(request), borrowing)
        return Response(status_code=204)


def _access_routes(app: FastAPI, licence_service: LicenceService) -> None:
    @app.get(
        "/v1/access",
        response_model=AccessList,
        tags=["operation"],
        openapi_extra=documented(roles=OPERATORS),
    )
    async def access(request: Request) -> Response:
        """The access list that is in force."""
        demand(peer_of(request), "operator")
        return answer(licence_service.access.current())

    @app.put(
        "/v1/access",
        response_model=AccessList,
        tags=["operation"],
        openapi_extra=documented("access-list-changed", *JOURNAL, takes=AccessList, roles=OPERATORS),
    )
    async def set_access(request: Request, check: bool = False) -> Response:
        """Put an access list into force, all of it or nothing. `check`: only say what is wrong with it."""
        peer = peer_of(request)
        demand(peer, "operator")
        wanted = await body_of(request, AccessList)
        return answer(
            licence_service.access.check(wanted)
            if check
            else await licence_service.access.replace(peer, wanted)
        )


def _time_route(app: FastAPI, licence_service: LicenceService) -> None:
    @app.put(
        "/v1/operator/time",
        response_model=TimeAccepted,
        tags=["operation"],
        openapi_extra=documented("time-refused", *JOURNAL, takes=TimeRequest, roles=OPERATORS),
    )
    async def accept_time(request: Request) -> Response:
        """Have certified time go on from what the clocks show, if that is near what is given."""
        peer = peer_of(request)
        demand(peer, "operator")
        return answer(await licence_service.time_doubt.accept(peer, await body_of(request, TimeRequest)))


def status_routes(app: FastAPI, status: Callable[[], Status], metrics: Callable[[], bytes]) -> None:
    """What a server says of itself, whether it serves or not. `metrics`: Prometheus' text."""

    @app.get("/", include_in_schema=False)
    async def overview(request: Request) -> Response:
        """The status as a page for people."""
        peer_of(request)
        return page()

    @app.get(
        "/v1/status",
        response_model=Status,
        tags=["operation"],
        openapi_extra=documented(roles=ANYONE, serving=False),
    )
    async def show_status(request: Request) -> Response:
        """This server: its role, the upstreams, licences and alarms. A passive twin answers, too."""
        peer_of(request)
        return answer(status())

    @app.get(
        "/metrics",
        response_class=PlainTextResponse,
        tags=["operation"],
        openapi_extra=documented(roles=ANYONE, serving=False),
    )
    async def show_metrics(request: Request) -> Response:
        """For Prometheus. A passive twin answers, too."""
        peer_of(request)
        return Response(metrics(), media_type=METRICS_TYPE)


def _client(request: Request) -> Identity:
    peer = peer_of(request)
    demand(peer, "client", "operator")
    return peer


def _address(request: Request) -> str:
    """The IP address that the request came from; empty on a Unix socket."""
    return request.client.host if request.client else ""


def answer(model: BaseModel, status: int = 200) -> Response:
    """The model as JSON."""
    return Response(
        model.__pydantic_serializer__.to_json(model, by_alias=True), status, None, "application/json"
    )


async def body_of(request: Request, kind: type[M]) -> M:
    """The request's body. Raises Problem bad-request, which names each wrong member."""
    body = await read_body(request, BODY_LIMIT)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        mistakes = [
            f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors(include_url=False)
        ]
        known = ", ".join(kind.model_fields)
        raise bad_request(
            f"{'; '.join(mistakes)}.", f"Correct what is named and ask again. The members are: {known}."
        ) from None


def _request_id(request: Request) -> str:
    key = request.headers.get(IDEMPOTENCY_HEADER, "")
    if not _KEY.fullmatch(key):
        given = (
            f"{IDEMPOTENCY_HEADER} is ill-formed" if key else f"The header {IDEMPOTENCY_HEADER} is missing"
        )
        raise bad_request(
            f"{given}: it has 8 to 128 of the characters A-Z a-z 0-9 . _ ~ -",
            "Send a new random key with each new request, and the same one when you repeat it.",
        )
    return key


class CountingMiddleware:
    """Counts answers by method, route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._requests = metrics.requests
        self._counters: dict[tuple[str, str, int], Counter] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            self._counter(scope["method"], _route(scope), status).inc()

    def _counter(self, method: str, route: str, status: int) -> Counter:
        found = self._counters.get((method, route, status))
        if found is None:  # to look it up by its labels takes ten times as long
            found = self._counters[method, route, status] = self._requests.labels(method, route, str(status))
        return found


def _route(scope: Mapping[str, Any]) -> str:
    """The route's template: a label must not grow with what clients ask for."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "unknown"))
