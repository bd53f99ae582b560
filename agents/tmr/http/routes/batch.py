# SPDX-License-Identifier: Apache-2.0
"""Route of batches: many requests of one application in one."""

from fastapi import FastAPI, Request, Response

from tmr.api.batch import Batch, BatchResult
from tmr.http.client_api import ClientApi
from tmr.http.messages import address_of, answer, body_of, client_of
from tmr.http.openapi import documented


def add_routes(app: FastAPI, api: ClientApi) -> None:
    """Add the route of batches."""
    parts = api.licence_service

    @app.post(
        "/v1/batch",
        response_model=BatchResult,
        tags=["sessions"],
        openapi_extra=documented(takes=Batch),
    )
    async def batch(request: Request) -> Response:
        """Many requests of one application in one. Each is decided for itself; see the result of each."""
        peer = client_of(request)
        asked = await body_of(request, Batch)
        return answer(await parts.batches.carry_out(peer, address_of(request), asked.steps))
