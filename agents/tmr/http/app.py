# SPDX-License-Identifier: Apache-2.0
"""HTTP stack of a server that serves clients. A request passes, from the outside to the inside:

    tmr.net.server.ShutdownMiddleware   ends the connection after the answer, once the server is stopping
    ClientApp                           entry of the application, past the framework's layers
    CountingMiddleware                  counts answers by method, route and status
    LoadShedder                         503 where there is too much to do, a fair share for each client
    FastPathRouter                      calls the endpoints of FAST_ROUTES at once; all others go on to
    FastAPI                             problem documents, routing, parameters, tmr.http.routes

An endpoint reads its body and writes its answer by hand (`tmr.http.messages`).
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from tmr.http.client_api import ClientApi
from tmr.http.counting import CountingMiddleware
from tmr.http.fast_path import FAST_ROUTES, FastPathRouter
from tmr.http.load_shedding import LoadShedder
from tmr.http.metrics import Metrics
from tmr.http.openapi import install as install_openapi
from tmr.http.routes import ROUTE_GROUPS
from tmr.net.problem import install as install_problems
from tmr.service.guard import RequestGuard


class ClientApp(FastAPI):
    """Application of the client API, behind the stack that is drawn above."""

    def __init__(self, guard: RequestGuard, metrics: Metrics, **description: Any) -> None:
        self._guard = guard
        self._metrics = metrics
        super().__init__(**description)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As below the framework: it would look at each request whether somebody traces it."""
        await Starlette.__call__(self, scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """As the framework has it, behind what is ours: its own layers cost more than most requests."""
        framework = super().build_middleware_stack()
        fast_path = FastPathRouter(framework, self, FAST_ROUTES)
        return CountingMiddleware(LoadShedder(fast_path, self._guard, self._metrics), self._metrics)


def client_app(
    api: ClientApi,
    guard: RequestGuard,
    metrics: Metrics,
    *,
    title: str,
    version: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    own_routes: Callable[[FastAPI], None],
) -> FastAPI:
    """The application with the routes that all servers have, and with `own_routes` of this kind of server."""
    app = ClientApp(
        guard,
        metrics,
        title=title,
        version=version,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    install_problems(app)
    install_openapi(app)
    for add_routes in ROUTE_GROUPS:
        add_routes(app, api)
    own_routes(app)
    return app
