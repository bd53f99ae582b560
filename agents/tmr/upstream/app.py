# SPDX-License-Identifier: Apache-2.0
"""The upstream's API: msgpack for the twins, refusals for all others, administration on a Unix socket."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tmr.licensing import ENVELOPE_MAX, LicensingError
from tmr.net.body import read_body
from tmr.net.problem import ProblemError, bad_request, install
from tmr.net.server import demand, demand_local, peer_of
from tmr.runtime.logs import fields
from tmr.upstream.acceptor_runner import AcceptorRunner
from tmr.upstream.admin_messages import Status
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.dispatch import Dispatch, Endpoint, failed
from tmr.upstream.metrics import Metrics
from tmr.upstream.recorder import Recorder
from tmr.upstream.status import version
from tmr.upstream.twin_policy import TwinCertificatePolicy

log = logging.getLogger(__name__)

JSON: Final = "application/json"
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def create_app(
    runner: AcceptorRunner,
    container_store: ContainerStore,
    dispatch: Dispatch,
    recorder: Recorder,
    metrics: Metrics,
    status: Callable[[], Status],
    twins: TwinCertificatePolicy,
) -> FastAPI:
    """The application; its lifespan ends the runner. `dispatch` answers the twins' messages.

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
    routes = [
        *dispatch.routes(),
        *admin_routes(runner, container_store, metrics, status),
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


def _outside_tmr(metrics: Metrics) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        peer = peer_of(request)
        metrics.refused.labels(peer.role).inc()
        raise ProblemError(
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
        demand(peer, "twin", "operator", "client")
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
                raise failed() from None
            except LicensingError as error:
                metrics.activations.labels(error.code).inc()
                log.warning("update refused", extra=fields(code=error.code, reason=error.reason))
                raise ProblemError(
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
