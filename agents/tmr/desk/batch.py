"""Many requests of one application in one: each is decided for itself."""

import asyncio
from collections.abc import Sequence
from typing import Final

from tmr.client.models import (
    BatchResult,
    OpenStep,
    Problem,
    ReleaseStep,
    Session,
    Step,
    StepResult,
    UnitsStep,
)
from tmr.desk.service import Service
from tmr.rim import problem
from tmr.rim.identity import Identity

STRETCH: Final = 50
"""Steps begun in one turn of the event loop: meanwhile no lease is renewed and nobody else is heard."""


class Batches:
    """See the module."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def carry_out(self, peer: Identity, address: str, steps: Sequence[Step]) -> BatchResult:
        """One result for each step. Raises Problem where this server does not serve at all."""
        self._service.gate.check()
        tasks = list[asyncio.Task[StepResult]]()
        for start in range(0, len(steps), STRETCH):
            if start:
                await asyncio.sleep(0)
            tasks += [
                asyncio.create_task(self._result(peer, address, step))
                for step in steps[start : start + STRETCH]
            ]
        return BatchResult(results=tuple(await asyncio.gather(*tasks)))

    async def _result(self, peer: Identity, address: str, step: Step) -> StepResult:
        service = self._service
        try:
            match step:
                case OpenStep():
                    found = await service.grant(peer, address, step.key, step.request)
                    if isinstance(found, Session):
                        return StepResult(status=201, session=found)
                    return StepResult(status=202, place=found)
                case UnitsStep():
                    taken = await service.consume(peer, step.key, step.session, step.units)
                    return StepResult(status=200, consumption=taken)
                case ReleaseStep():
                    await service.release(peer, step.session)
                    return StepResult(status=204)
        except problem.Problem as refusal:
            told = Problem.model_validate_json(bytes(refusal.response().body))
            return StepResult(status=refusal.status, problem=told)
