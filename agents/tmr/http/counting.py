# SPDX-License-Identifier: Apache-2.0
"""Counter of answers, for the metrics."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tmr.http.metrics import Metrics


class CountingMiddleware:
    """Counts answers by method, route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._requests = metrics.requests
        self._counters: dict[tuple[str, str, int], Counter] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            self._counter(scope["method"], _route(scope), status).inc()

    def _counter(self, method: str, route: str, status: int) -> Counter:
        found = self._counters.get((method, route, status))
        if found is None:  # to look it up by its labels takes ten times as long
            found = self._counters[method, route, status] = self._requests.labels(method, route, str(status))
        return found


def _route(scope: Mapping[str, Any]) -> str:
    """The route's template: a label must not grow with what clients ask for."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "unknown"))
