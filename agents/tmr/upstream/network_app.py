"""The API of a network licence server: what clients ask for, and administration on a Unix socket."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tmr.desk import tracking
from tmr.desk.front import DeskApp
from tmr.desk.openapi import OPERATORS, documented
from tmr.desk.openapi import install as install_openapi
from tmr.desk.routes import client_routes, status_routes
from tmr.rim.problem import bad_request, install
from tmr.rim.serve import demand, peer_of
from tmr.upstream.app import add_routes, admin_routes
from tmr.upstream.keeper import Keeper
from tmr.upstream.metrics import Metrics
from tmr.upstream.network import NetworkServer
from tmr.upstream.node import Node
from tmr.upstream.status import version
from tmr.upstream.wire import Status


def create_app(
    server: NetworkServer, node: Node, keeper: Keeper, metrics: Metrics, status: Callable[[], Status]
) -> "ByListener":
    """The application; its lifespan is the server's and the node's. `metrics`, `status`: the upstream's."""
    admin = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    install(admin)
    add_routes(admin, admin_routes(node, keeper, metrics, status, server.assemble))
    metrics.show(status)
    return ByListener(admin, _client_app(server, node, metrics))


def _client_app(server: NetworkServer, node: Node, metrics: Metrics) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await server.start()
            yield
        finally:
            await server.stop()
            await node.stop()

    app = DeskApp(
        title="Network licence server",
        version=version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    install(app)
    install_openapi(app)
    client_routes(app, server.desk)
    status_routes(app, server.status, lambda: server.metrics.text(server.status()) + metrics.text())
    tracking.add_routes(app, server.tracking)
    _switchover(app, server)
    app.guard(server.gate, server.metrics)
    return app


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


class ByListener:
    """The Unix socket is for administration, the network for clients."""

    def __init__(self, admin: FastAPI, clients: FastAPI) -> None:
        self.admin = admin
        self.clients = clients

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        local = scope["type"] == "http" and scope.get("state", {}).get("local", False)
        app: ASGIApp = self.admin if local else self.clients
        await app(scope, receive, send)
