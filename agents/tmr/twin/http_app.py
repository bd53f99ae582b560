"""The API of a twin: what clients ask for, and the switchover."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from starlette.background import BackgroundTask

from tmr.api.models import Switchover, Trusted, TrustRequest
from tmr.http import tracking_routes
from tmr.http.app import ClientApp
from tmr.http.openapi import JOURNAL, OPERATORS, documented
from tmr.http.openapi import install as install_openapi
from tmr.http.routes import answer, body_of, client_routes, status_routes
from tmr.net.problem import install
from tmr.net.server import demand, peer_of
from tmr.twin.twin_app import TwinApp


def create_app(agent: TwinApp) -> FastAPI:
    """The application; its lifespan is the agent's."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        agent.start()
        try:
            yield
        finally:
            await agent.stop()

    app = ClientApp(
        title="TMR licence server",
        version=agent.status().version,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    install(app)
    install_openapi(app)
    client_routes(app, agent.licence_service)
    status_routes(app, agent.status, lambda: agent.metrics.text(agent.status()))
    _switchover(app, agent)
    _trust(app, agent)
    tracking_routes.add_routes(app, agent.tracking)
    app.guard(agent.guard, agent.metrics)
    return app


def _switchover(app: FastAPI, agent: TwinApp) -> None:
    async def hand_over(reason: str) -> None:
        agent.leave(reason)

    @app.post(
        "/v1/operator/switchover",
        response_model=Switchover,
        status_code=202,
        tags=["operation"],
        openapi_extra=documented("twin-not-ready", roles=OPERATORS),
    )
    async def switchover(request: Request) -> Response:
        """The active twin steps down in good order; the other takes over."""
        peer = peer_of(request)
        demand(peer, "operator")
        name = agent.switchover()
        found = answer(Switchover.model_validate({"from": name}), 202)
        # The answer travels from the virtual address: it must leave before the address does.
        found.background = BackgroundTask(hand_over, f"switchover asked for by {peer.name}")
        return found


def _trust(app: FastAPI, agent: TwinApp) -> None:
    @app.put(
        "/v1/operator/trust",
        response_model=Trusted,
        tags=["operation"],
        openapi_extra=documented("container-refused", *JOURNAL, takes=TrustRequest, roles=OPERATORS),
    )
    async def trust(request: Request) -> Response:
        """Believe the new container of an upstream, if it has the fingerprint that was seen there."""
        peer = peer_of(request)
        demand(peer, "operator")
        return answer(await agent.truster.trust(peer, await body_of(request, TrustRequest)))
