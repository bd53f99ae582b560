"""The HTTP stack before the framework: it counts a request, may turn it away, or answers it at once."""

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from tmr.http.fast_path import FastPathRouter
from tmr.http.load_shedding import LoadShedder
from tmr.http.metrics import Metrics
from tmr.http.routes import HOT, CountingMiddleware
from tmr.service.guard import RequestGuard


class ClientApp(FastAPI):
    """An application of the client API. Call `guard` once its routes are there."""

    _guard: RequestGuard | None = None
    _metrics: Metrics | None = None

    def guard(self, guard: RequestGuard, metrics: Metrics) -> None:
        """Count requests, and turn them away where there is too much to do."""
        self._guard, self._metrics = guard, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As below the framework: it would look at each request whether somebody traces it."""
        await Starlette.__call__(self, scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """As the framework has it, behind what is ours: its own layers cost more than most requests."""
        stack = super().build_middleware_stack()
        if self._guard is None or self._metrics is None:
            return stack
        return CountingMiddleware(
            LoadShedder(FastPathRouter(stack, self, HOT), self._guard, self._metrics),
            self._metrics,
        )
