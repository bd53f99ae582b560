# SPDX-License-Identifier: Apache-2.0
"""The API of a network licence server: what clients ask for, and administration on a Unix socket."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tmr.http.app import client_app
from tmr.http.client_api import ClientApi
from tmr.http.openapi import OPERATORS, documented
from tmr.net.problem import bad_request, install
from tmr.net.server import demand, peer_of
from tmr.standalone.network import NetworkServer
from tmr.upstream.acceptor_runner import AcceptorRunner
from tmr.upstream.admin_messages import Status
from tmr.upstream.app import add_routes, admin_routes
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.metrics import Metrics
from tmr.upstream.status import version


def create_app(
    server: NetworkServer,
    runner: AcceptorRunner,
    container_store: ContainerStore,
    metrics: Metrics,
    status: Callable[[], Status],
) -> "ListenerRouter":
    """The application; its lifespan is the server's and the node's. `metrics`, `status`: the upstream's."""
    admin = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    install(admin)
    add_routes(admin, admin_routes(runner, container_store, metrics, status, server.merge))
    metrics.show(status)
    return ListenerRouter(admin, _client_app(server, runner, metrics))


def _client_app(server: NetworkServer, runner: AcceptorRunner, metrics: Metrics) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await server.start()
            yield
        finally:
            await server.stop()
            await runner.stop()

    return client_app(
        ClientApi(
            server.licence_service,
            server.tracking,
            server.status,
            lambda: server.metrics.text(server.status()) + metrics.text(),
        ),
        server.guard,
        server.metrics,
        title="Network licence server",
        version=version(),
        lifespan=lifespan,
        own_routes=lambda app: _switchover(app, server),
    )


def _switchover(app: FastAPI, server: NetworkServer) -> None:
    @app.post(
        "/v1/operator/switchover",
        tags=["operation"],
        openapi_extra=documented("bad-request", roles=OPERATORS, serving=False),
    )
    async def switchover(request: Request) -> Response:
        """There is no other server to hand over to: always refused."""
        demand(peer_of(request), "operator")
        raise bad_request(
            f"{server.name} is a network licence server: there is no twin that could take over.",
            "Stop its service where it has to rest: systemctl stop tmr-upstream. Sessions survive a restart.",
        )


class ListenerRouter:
    """The Unix socket is for administration, the network for clients."""

    def __init__(self, admin: FastAPI, clients: FastAPI) -> None:
        self.admin = admin
        self.clients = clients

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        local = scope["type"] == "http" and scope.get("state", {}).get("local", False)
        app: ASGIApp = self.admin if local else self.clients
        await app(scope, receive, send)
