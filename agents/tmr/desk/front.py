"""The HTTP stack before the framework: it counts a request, may turn it away, or answers it at once."""

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from tmr.desk.gate import Gate
from tmr.desk.metrics import Metrics
from tmr.desk.routes import HOT, Counting
from tmr.desk.shedding import Shedding
from tmr.rim.express import Express


class DeskApp(FastAPI):
    """An application of the client API. Call `guard` once its routes are there."""

    _gate: Gate | None = None
    _metrics: Metrics | None = None

    def guard(self, gate: Gate, metrics: Metrics) -> None:
        """Count requests, and turn them away where there is too much to do."""
        self._gate, self._metrics = gate, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As below the framework: it would look at each request whether somebody traces it."""
        await Starlette.__call__(self, scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """As the framework has it, behind what is ours: its own layers cost more than most requests."""
        stack = super().build_middleware_stack()
        if self._gate is None or self._metrics is None:
            return stack
        return Counting(
            Shedding(Express(stack, self, HOT), self._gate, self._metrics),
            self._metrics,
        )
