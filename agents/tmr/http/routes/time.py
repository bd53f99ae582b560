# SPDX-License-Identifier: Apache-2.0
"""Route by which an operator has certified time go on."""

from fastapi import FastAPI, Request, Response

from tmr.api.operations import TimeAccepted, TimeRequest
from tmr.http.client_api import ClientApi
from tmr.http.messages import answer, body_of
from tmr.http.openapi import JOURNAL, OPERATORS, documented
from tmr.net.server import demand, peer_of


def add_routes(app: FastAPI, api: ClientApi) -> None:
    """Add the route of certified time."""

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
        return answer(await api.licence_service.time_doubt.accept(peer, await body_of(request, TimeRequest)))
