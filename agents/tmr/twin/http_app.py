# SPDX-License-Identifier: Apache-2.0
"""The API of a twin: what clients ask for, and the switchover."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from starlette.background import BackgroundTask

from tmr.api.operations import Switchover, Trusted, TrustRequest
from tmr.http.app import client_app
from tmr.http.client_api import ClientApi
from tmr.http.messages import answer, body_of
from tmr.http.openapi import JOURNAL, OPERATORS, documented
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

    def own_routes(app: FastAPI) -> None:
        _switchover(app, agent)
        _trust(app, agent)

    return client_app(
        ClientApi(
            agent.licence_service, agent.tracking, agent.status, lambda: agent.metrics.text(agent.status())
        ),
        agent.guard,
        agent.metrics,
        title="TMR licence server",
        version=agent.status().version,
        lifespan=lifespan,
        own_routes=own_routes,
    )


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
