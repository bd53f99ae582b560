"""The upstream's API: msgpack for the twins, refusals for everybody else, administration on a Unix socket."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tmr.licensing import ENVELOPE_MAX, LicensingError
from tmr.net.body import read_body
from tmr.net.frame_server import Answerer
from tmr.net.identity import Identity
from tmr.net.peer_requests import PeerRequests
from tmr.net.problem import Problem, bad_request, install
from tmr.net.server import demand, demand_local, peer_of
from tmr.quorum.entries import FORMAT, ProposerId
from tmr.quorum.messages import (
    Acquire,
    Append,
    Bootstrap,
    Install,
    Release,
    Report,
    Subscribe,
    decode_request,
    encode,
)
from tmr.quorum.messages import Request as Message
from tmr.quorum.read_index import decode_read_index
from tmr.rpc import record_messages
from tmr.rpc.upstream_client import BORROWINGS, CONTENT_TYPE, PATHS
from tmr.runtime.logs import fields
from tmr.upstream.acceptor_runner import AcceptorRunner, RunnerFailed
from tmr.upstream.admin_messages import Status
from tmr.upstream.borrowings import Borrowings
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.metrics import Metrics
from tmr.upstream.recorder import Recorder
from tmr.upstream.status import version
from tmr.upstream.twin_policy import TwinCertificatePolicy

log = logging.getLogger(__name__)

BODY_LIMIT: Final = 8 * 2**20
"""Bytes of one message."""
SNAPSHOT_LIMIT: Final = 256 * 2**20
"""Bytes of one snapshot to install: a full ledger is larger than any batch."""
JSON: Final = "application/json"
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_MESSAGES: Final = (
    f"This upstream has the version {version()}, which knows the journal's formats up to {FORMAT}. If "
    "the twin is newer, install its version here, too."
)
"""Remedy for what is no message of this version."""
_READ_INDEX: Final = "Send a ReadIndex of tmr.quorum.read_index."

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    runner: AcceptorRunner,
    container_store: ContainerStore,
    borrowings: Borrowings,
    recorder: Recorder,
    metrics: Metrics,
    status: Callable[[], Status],
    twins: TwinCertificatePolicy,
) -> FastAPI:
    """The application; its lifespan ends the node.

    `status` reads the upstream as it is now.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        recorder.start()
        try:
            yield
        finally:
            await recorder.stop()
            await runner.stop()

    app = FastAPI(
        title="TMR upstream",
        version=version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    install(app)
    metrics.show(status)
    # Plain routes: FastAPI's validation would cost more than the rest of an append.
    routes: list[tuple[str, str, Endpoint]] = [
        (PATHS[kind], "POST", _message(runner, twins, metrics, kind))
        for kind in (Acquire, Append, Install, Release, Subscribe, Bootstrap, Report)
    ]
    routes += admin_routes(runner, container_store, metrics, status)
    routes += [(path, "POST", _record(recorder, twins, kind)) for kind, path in record_messages.PATHS.items()]
    routes += [
        ("/v1/container", "GET", _container(container_store, twins)),
        (f"{BORROWINGS}/{{borrow}}", "POST", _borrowing(borrowings, twins)),
        ("/v1/sessions", "POST", _outside_tmr(metrics)),
        ("/metrics", "GET", _metrics(twins, metrics)),
    ]
    add_routes(app, routes)
    return app


def add_routes(app: FastAPI, routes: Iterable[tuple[str, str, Endpoint]]) -> None:
    """Path, method and endpoint of each."""
    for path, method, endpoint in routes:
        app.router.routes.append(Route(path, endpoint, methods=[method]))


def admin_routes(
    runner: AcceptorRunner,
    container_store: ContainerStore,
    metrics: Metrics,
    status: Callable[[], Status],
    activated: Callable[[], Awaitable[None]] | None = None,
) -> list[tuple[str, str, Endpoint]]:
    """Routes of the administration socket. `activated` is awaited after each update."""
    return [
        ("/v1/requests/{firm_code}", "GET", _request_file(container_store)),
        ("/v1/updates", "POST", _update(runner, container_store, metrics, activated)),
        ("/v1/status", "GET", _status(status)),
    ]


def _decoded(
    body: bytes,
    decode: Callable[[bytes], T],
    kind: type,
    paths: Mapping[Any, str],
    what: str,
    remedy: str,
) -> T:
    """The `what` in the body, which must be of the kind that this path takes. Raises Problem bad-request."""
    try:
        found = decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise bad_request(f"The body is no {what} in msgpack: {error}", remedy) from None
    if type(found) is not kind:
        raise bad_request(
            f"A {what} of the kind {type(found).__name__.lower()!r} does not belong here.",
            f"Post it to {paths[type(found)]}.",
        )
    return found


def _message(runner: AcceptorRunner, twins: TwinCertificatePolicy, metrics: Metrics, kind: type) -> Endpoint:
    limit = SNAPSHOT_LIMIT if kind is Install else BODY_LIMIT

    async def endpoint(request: Request) -> Response:
        twin = twins.admit_request(request)
        body = await read_body(request, limit)
        message = _decoded(body, decode_request, kind, PATHS, "message", _MESSAGES)
        return Response(await _reply(runner, metrics, twin, message), media_type=CONTENT_TYPE)

    return endpoint


def answerer(
    runner: AcceptorRunner, twins: TwinCertificatePolicy, metrics: Metrics, requests: PeerRequests
) -> Answerer:
    """Answers messages that come in frames: all kinds but snapshots, which are too large to wait behind."""

    async def answer(peer: Identity, address: str, body: bytes) -> bytes:
        async with requests.one(peer, address, len(body)):
            return await answer_now(peer, address, body)

    async def answer_now(peer: Identity, address: str, body: bytes) -> bytes:
        twin = twins.admit(peer, address)
        try:
            message = decode_request(body)
        except (msgspec.MsgspecError, ValueError) as error:
            raise bad_request(f"The frame is no message in msgpack: {error}", _MESSAGES) from None
        if isinstance(message, Install):
            raise bad_request("A snapshot is not sent in a frame.", f"Post it to {PATHS[Install]}.")
        return await _reply(runner, metrics, twin, message)

    return answer


async def _reply(runner: AcceptorRunner, metrics: Metrics, twin: str, message: Message) -> bytes:
    _speaks_for(message.owner, twin)
    try:
        reply = await runner.call(message)
    except RunnerFailed:
        raise _failed() from None
    metrics.messages.labels(type(message).__name__.lower(), type(reply).__name__.lower()).inc()
    return encode(reply)


def _speaks_for(owner: ProposerId, twin: str) -> None:
    """Raise Problem unless the certificate is of the twin that the message names."""
    if owner.name != twin:
        raise Problem(
            "wrong-role",
            403,
            "Wrong twin",
            f"The message speaks for {owner.name!r}, the certificate is of twin {twin}.",
            "Speak for yourself only.",
        )


def _record(recorder: Recorder, twins: TwinCertificatePolicy, kind: type) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        twins.admit_request(request)
        body, remedy = await read_body(request, BODY_LIMIT), "Send one of tmr.rpc.record_messages."
        question = _decoded(
            body, record_messages.decode_question, kind, record_messages.PATHS, "question", remedy
        )
        try:
            answer = await recorder.answer(question)
        except RunnerFailed:
            raise _failed() from None
        return Response(record_messages.encode(answer), media_type=CONTENT_TYPE)

    return endpoint


def _failed() -> Problem:
    return Problem(
        "overloaded",
        503,
        "Store failed",
        "This upstream's store failed; it is about to restart.",
        "Try again.",
        headers={"Retry-After": "1"},
    )


def _container(container_store: ContainerStore, twins: TwinCertificatePolicy) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        twins.admit_request(request)
        return Response(msgspec.msgpack.encode(container_store.statement), media_type=CONTENT_TYPE)

    return endpoint


def _borrowing(borrowings: Borrowings, twins: TwinCertificatePolicy) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        twin = twins.admit_request(request)
        try:
            asked = decode_read_index(await read_body(request, BODY_LIMIT))
        except (msgspec.MsgspecError, ValueError) as error:
            raise bad_request(f"The body is no read index in msgpack: {error}", _READ_INDEX) from None
        _speaks_for(asked.owner, twin)
        try:
            share = await borrowings.share(request.path_params["borrow"], asked)
        except RunnerFailed:
            raise _failed() from None
        return Response(msgspec.msgpack.encode(share), media_type=CONTENT_TYPE)

    return endpoint


def _outside_tmr(metrics: Metrics) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        peer = peer_of(request)
        metrics.refused.labels(peer.role).inc()
        raise Problem(
            "tmr-id-outside-tmr",
            403,
            "A licence with a TMR-Id works in its TMR system only",
            "This is one of the three upstreams of a TMR system. What it holds are constituents: Product "
            "Items with a TMR-Id, which no single server may grant, whatever the certificate.",
            "Ask the TMR servers at their virtual address.",
        )

    return endpoint


def _metrics(twins: TwinCertificatePolicy, metrics: Metrics) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        peer = peer_of(request)
        demand(peer, "twin", "operator")
        if peer.role == "twin":
            twins.admit_request(request)
        return Response(metrics.text(), headers={"Content-Type": METRICS_TYPE})

    return endpoint


# -- administration: on the Unix socket only ---------------------------------------------------------------


def _request_file(container_store: ContainerStore) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        demand_local(request)
        text = request.path_params["firm_code"]
        if not (text.isascii() and text.isdigit() and len(text) <= 10):
            raise bad_request(f"{text[:40]!r} is no Firm Code.", "Give the vendor's Firm Code as a number.")
        try:
            return Response(container_store.request(int(text)), media_type=JSON)
        except LicensingError as error:
            raise bad_request(f"{error.reason}.", f"{error.remedy}.") from None

    return endpoint


def _update(
    runner: AcceptorRunner,
    container_store: ContainerStore,
    metrics: Metrics,
    then: Callable[[], Awaitable[None]] | None,
) -> Endpoint:
    one_at_a_time = asyncio.Lock()

    async def endpoint(request: Request) -> Response:
        demand_local(request)
        body = await read_body(request, ENVELOPE_MAX)
        async with one_at_a_time:
            try:
                activated = await runner.in_writer(lambda: container_store.activate(body))
            except sqlite3.Error as error:
                runner.fail(error)
                raise _failed() from None
            except LicensingError as error:
                metrics.activations.labels(error.code).inc()
                log.warning("update refused", extra=fields(code=error.code, reason=error.reason))
                raise Problem(
                    "update-refused",
                    409,
                    "The container refuses the update",
                    error.reason,
                    error.remedy,
                    refusal=error.code,
                ) from None
            runner.new_generation(activated.generation)
            if then is not None:
                await then()
        metrics.activations.labels("activated").inc()
        log.info(
            "update activated",
            extra=fields(
                update=activated.update_id,
                firm_code=activated.firm_code,
                counter=activated.counter,
                generation=activated.generation,
            ),
        )
        return Response(msgspec.json.encode(activated), media_type=JSON)

    return endpoint


def _status(status: Callable[[], Status]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        demand_local(request)
        return Response(msgspec.json.encode(status()), media_type=JSON)

    return endpoint
