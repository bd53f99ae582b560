"""The client API of a twin: JSON over HTTPS, errors as problem documents (RFC 9457)."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ValidationError
from starlette.background import BackgroundTask
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tmr.client.models import (
    IDEMPOTENCY_HEADER,
    IDEMPOTENCY_KEY,
    ContainerList,
    Heartbeat,
    Heartbeats,
    HeartbeatsRequest,
    ItemList,
    Problem,
    Session,
    SessionList,
    SessionRequest,
    Status,
    Switchover,
)
from tmr.rim.body import read_body
from tmr.rim.identity import Identity
from tmr.rim.problem import bad_request, install
from tmr.rim.serve import demand, peer_of
from tmr.server import tracking
from tmr.server.agent import Agent
from tmr.server.metrics import Metrics
from tmr.server.page import page

BODY_LIMIT: Final = 256 * 1024
"""Bytes of a request's body: a thousand session ids of 128 characters fit."""
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_KEY: Final = re.compile(IDEMPOTENCY_KEY)

M = TypeVar("M", bound=BaseModel)


def create_app(agent: Agent) -> FastAPI:
    """The application; its lifespan is the agent's."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        agent.start()
        try:
            yield
        finally:
            await agent.stop()

    app = FastAPI(
        title="TMR licence server",
        version=agent.status().version,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses={
            "default": {"model": Problem, "description": "Why it was refused (application/problem+json)"}
        },
    )
    install(app)
    _client_routes(app, agent)
    _operator_routes(app, agent)
    tracking.add_routes(app, agent.tracking)
    app.add_middleware(Counting, metrics=agent.metrics)
    return app


def _client_routes(app: FastAPI, agent: Agent) -> None:
    """Bodies are read and answers written by hand: FastAPI's own way costs more than the rest."""
    service = agent.service

    @app.get("/v1/containers", response_model=ContainerList, tags=["licences"])
    async def containers(request: Request) -> Response:
        """The virtual container."""
        _client(request)
        return _answer(ContainerList(containers=(service.container(),)))

    @app.get("/v1/containers/{serial}/items", response_model=ItemList, tags=["licences"])
    async def items(request: Request, serial: str) -> Response:
        """The licences that can be used, and those that cannot, with the reason."""
        _client(request)
        found, unavailable = service.items(serial)
        return _answer(ItemList(items=tuple(found), unavailable=tuple(unavailable)))

    @app.post(
        "/v1/sessions",
        response_model=Session,
        status_code=201,
        tags=["sessions"],
        openapi_extra=_takes(SessionRequest, header=IDEMPOTENCY_HEADER),
    )
    async def open_session(request: Request) -> Response:
        """One access to one licence. The same key again: the same session."""
        peer = _client(request)
        asked = await _body(request, SessionRequest)
        return _answer(await service.grant(peer, _request_id(request), asked), 201)

    @app.get("/v1/sessions", response_model=SessionList, tags=["sessions"])
    async def sessions(request: Request) -> Response:
        """The own sessions; an operator sees everybody's."""
        return _answer(SessionList(sessions=tuple(await service.held(_client(request)))))

    @app.put("/v1/sessions/{session}/heartbeat", response_model=Heartbeat, tags=["sessions"])
    async def heartbeat(request: Request, session: str) -> Response:
        """Keep a session alive."""
        return _answer(await service.heartbeat(_client(request), session))

    @app.post(
        "/v1/heartbeats",
        response_model=Heartbeats,
        tags=["sessions"],
        openapi_extra=_takes(HeartbeatsRequest),
    )
    async def heartbeats(request: Request) -> Response:
        """Keep many sessions alive."""
        peer = _client(request)
        asked = await _body(request, HeartbeatsRequest)
        return _answer(await service.heartbeats(peer, asked.sessions))

    @app.delete("/v1/sessions/{session}", status_code=204, tags=["sessions"])
    async def release(request: Request, session: str) -> Response:
        """End a session. One that has ended already is no error."""
        await service.release(_client(request), session)
        return Response(status_code=204)


def _operator_routes(app: FastAPI, agent: Agent) -> None:
    @app.get("/", include_in_schema=False)
    async def overview(request: Request) -> Response:
        """The status as a page for people."""
        peer_of(request)
        return page()

    @app.get("/v1/status", response_model=Status, tags=["operation"])
    async def status(request: Request) -> Response:
        """This twin: its role, the upstreams, licences and alarms. The passive twin answers, too."""
        peer_of(request)
        return _answer(agent.status())

    @app.get("/metrics", tags=["operation"])
    async def metrics(request: Request) -> Response:
        """For Prometheus. The passive twin answers, too."""
        peer_of(request)
        return Response(agent.metrics.text(agent.status()), media_type=METRICS_TYPE)

    async def hand_over(reason: str) -> None:
        agent.leave(reason)

    @app.post("/v1/operator/switchover", response_model=Switchover, status_code=202, tags=["operation"])
    async def switchover(request: Request) -> Response:
        """The active twin steps down in good order; the other takes over."""
        peer = peer_of(request)
        demand(peer, "operator")
        name = agent.switchover()
        answer = _answer(Switchover.model_validate({"from": name}), 202)
        # The answer travels from the virtual address: it must leave before the address does.
        answer.background = BackgroundTask(hand_over, f"switchover asked for by {peer.name}")
        return answer


def _client(request: Request) -> Identity:
    peer = peer_of(request)
    demand(peer, "client", "operator")
    return peer


def _answer(model: BaseModel, status: int = 200) -> Response:
    return Response(
        model.__pydantic_serializer__.to_json(model, by_alias=True), status, None, "application/json"
    )


async def _body(request: Request, kind: type[M]) -> M:
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


def _takes(kind: type[BaseModel], header: str = "") -> dict[str, Any]:
    """The OpenAPI description of a body that is read by hand."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    described: dict[str, Any] = {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}
    }
    if header:
        described["parameters"] = [
            {
                "name": header,
                "in": "header",
                "required": True,
                "schema": {"type": "string", "pattern": IDEMPOTENCY_KEY},
            }
        ]
    return described


class Counting:
    """Counts answers by method, route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._requests = metrics.requests

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
            self._requests.labels(scope["method"], _route(scope), str(status)).inc()


def _route(scope: Mapping[str, Any]) -> str:
    """The route's template: a label must not grow with what clients ask for."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "unknown"))
