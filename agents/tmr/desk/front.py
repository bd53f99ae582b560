"""What a request passes before the framework: it is counted, perhaps turned away, or answered at once."""

from fastapi import FastAPI
from starlette.types import ASGIApp

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

    def build_middleware_stack(self) -> ASGIApp:
        """As the framework has it, behind what is ours: its own layers cost more than most requests."""
        stack = super().build_middleware_stack()
        if self._gate is None or self._metrics is None:
            return stack
        return Counting(
            Shedding(Express(stack, self, HOT), self._gate, self._metrics),
            self._metrics,
        )
