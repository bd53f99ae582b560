# SPDX-License-Identifier: Apache-2.0
"""Routes of what a server says of itself, whether it serves or not."""

from typing import Final

from fastapi import FastAPI, Request, Response
from starlette.responses import PlainTextResponse

from tmr.api.status import Status
from tmr.http.client_api import ClientApi
from tmr.http.messages import answer
from tmr.http.openapi import ANYONE, documented
from tmr.http.status_page import page
from tmr.net.server import peer_of

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def add_routes(app: FastAPI, api: ClientApi) -> None:
    """Add the routes of the status, the status page and the metrics."""

    @app.get("/", include_in_schema=False)
    async def overview(request: Request) -> Response:
        """The status as a page for people."""
        peer_of(request)
        return page()

    @app.get(
        "/v1/status",
        response_model=Status,
        tags=["operation"],
        openapi_extra=documented(roles=ANYONE, serving=False),
    )
    async def show_status(request: Request) -> Response:
        """This server: its role, the upstreams, licences and alarms. A passive twin answers, too."""
        peer_of(request)
        return answer(api.status())

    @app.get(
        "/metrics",
        response_class=PlainTextResponse,
        tags=["operation"],
        openapi_extra=documented(roles=ANYONE, serving=False),
    )
    async def show_metrics(request: Request) -> Response:
        """For Prometheus. A passive twin answers, too."""
        peer_of(request)
        return Response(api.metrics_text(), media_type=METRICS_TYPE)
