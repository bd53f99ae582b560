# SPDX-License-Identifier: Apache-2.0
"""Many requests of one application in one: each is decided for itself."""

from collections.abc import Coroutine, Sequence
from typing import Any, Final

from tmr.api.batch import BatchResult, OpenStep, ReleaseStep, Step, StepResult, UnitsStep
from tmr.api.sessions import Consumption, QueuePlace, Session
from tmr.net.identity import Identity
from tmr.net.problem import ProblemError
from tmr.runtime.turns import give_way
from tmr.service.sessions import SessionService
from tmr.service.units import UnitService

STRETCH: Final = 10
"""Steps begun, or answered, in one turn of the loop: meanwhile no lease is renewed and nobody else heard."""


Begun = Coroutine[Any, Any, Session | QueuePlace | Consumption | None] | ProblemError
"""A step that the journal was asked about, or its refusal."""


class Batches:
    """Service that carries out batches."""

    def __init__(self, service: SessionService, units: UnitService) -> None:
        self._service = service
        self._units = units

    async def carry_out(self, peer: Identity, address: str, steps: Sequence[Step]) -> BatchResult:
        """One result for each step. Raises ProblemError where this server does not serve at all."""
        self._service.guard.check()
        begun = list[Begun]()
        try:
            for number, step in enumerate(steps, 1):
                begun.append(self._begin(peer, address, step))
                if number % STRETCH == 0:
                    await give_way()
            results = list[StepResult]()
            for one in begun:
                results.append(await _result(one))
                if len(results) % STRETCH == 0:
                    await give_way()
            return BatchResult(results=tuple(results))
        finally:
            for one in begun:
                if not isinstance(one, ProblemError):
                    one.close()

    def _begin(self, peer: Identity, address: str, step: Step) -> Begun:
        """Ask the journal: all steps are with it before one is waited for, unless a key comes twice."""
        service = self._service
        try:
            match step:
                case OpenStep():
                    return service.grant(peer, address, step.key, step.request)
                case UnitsStep():
                    return self._units.consume(peer, step.key, step.session, step.units)
                case ReleaseStep():
                    return service.release(peer, step.session)
        except ProblemError as refusal:
            return refusal


async def _result(begun: Begun) -> StepResult:
    try:
        if isinstance(begun, ProblemError):
            raise begun
        match await begun:
            case Session() as session:
                return StepResult(status=201, session=session)
            case QueuePlace() as place:
                return StepResult(status=202, place=place)
            case Consumption() as taken:
                return StepResult(status=200, consumption=taken)
            case None:
                return StepResult(status=204)
    except ProblemError as refusal:
        return StepResult(status=refusal.status, problem=refusal.problem)
