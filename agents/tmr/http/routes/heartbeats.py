# SPDX-License-Identifier: Apache-2.0
"""Routes of heartbeats, one by one and many in one."""

from fastapi import FastAPI, Request, Response

from tmr.api.sessions import Heartbeat, Heartbeats, HeartbeatsRequest
from tmr.http.client_api import ClientApi
from tmr.http.messages import answer, body_of, client_of
from tmr.http.openapi import HOLDING, SessionName, documented


def add_routes(app: FastAPI, api: ClientApi) -> None:
    """Add the routes of heartbeats."""
    parts = api.licence_service

    @app.put(
        "/v1/sessions/{session}/heartbeat",
        response_model=Heartbeat,
        tags=["sessions"],
        openapi_extra=documented(*HOLDING),
    )
    async def heartbeat(request: Request, session: SessionName) -> Response:
        """Keep a session alive."""
        return answer(await parts.heartbeats.heartbeat(client_of(request), session))

    @app.post(
        "/v1/heartbeats",
        response_model=Heartbeats,
        tags=["sessions"],
        openapi_extra=documented(takes=HeartbeatsRequest),
    )
    async def heartbeats(request: Request) -> Response:
        """Keep many sessions alive."""
        peer = client_of(request)
        asked = await body_of(request, HeartbeatsRequest)
        return answer(await parts.heartbeats.heartbeats(peer, asked.sessions))
