# SPDX-License-Identifier: Apache-2.0
"""Models of a batch: many requests of one application, each with a result of its own."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tmr.api.fields import BATCH_MAX, IDEMPOTENCY_KEY, AnswerModel, RequestModel, SessionId, Units
from tmr.api.problem import Problem
from tmr.api.sessions import Consumption, QueuePlace, Session, SessionRequest

StepKey = Annotated[
    str,
    StringConstraints(pattern=IDEMPOTENCY_KEY),
    Field(description="Idempotency key of this step: the same one when the step is repeated."),
]


class OpenStep(RequestModel):
    """Asks for one access to one licence, as `POST /v1/sessions` does."""

    do: Literal["open"]
    key: StepKey
    request: SessionRequest


class UnitsStep(RequestModel):
    """Takes units from the licence of a session, as `POST /v1/sessions/{session}/units` does."""

    do: Literal["units"]
    key: StepKey
    session: SessionId
    units: Units


class ReleaseStep(RequestModel):
    """Ends a session, as `DELETE /v1/sessions/{session}` does."""

    do: Literal["release"]
    session: SessionId


Step = Annotated[OpenStep | UnitsStep | ReleaseStep, Field(discriminator="do")]


class Batch(RequestModel):
    """Many requests of one application. Each is decided for itself, and none waits for one before it."""

    steps: tuple[Step, ...] = Field(min_length=1, max_length=BATCH_MAX)


class StepResult(AnswerModel):
    """Result of one step: the answer that the request would have had alone."""

    status: int = Field(ge=200, le=599, description="HTTP status.")
    session: Session | None = Field(default=None, description="201: the session that was opened.")
    place: QueuePlace | None = Field(default=None, description="202: a place in the queue.")
    consumption: Consumption | None = Field(default=None, description="200: the units that were taken.")
    problem: Problem | None = Field(default=None, description="Why it was not done.")


class BatchResult(AnswerModel):
    """One result for each step, in the order of the steps."""

    results: tuple[StepResult, ...]
