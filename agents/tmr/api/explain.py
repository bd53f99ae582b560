# SPDX-License-Identifier: Apache-2.0
"""Models of an explanation: the answer that a request would get, and everything that decides it."""

from typing import Annotated, Any

from pydantic import AwareDatetime, Field, StringConstraints

from tmr.api.fields import (
    BORROW_MAX,
    TEXT_MAX,
    UNITS_MAX,
    WHOLE,
    AccessMode,
    AnswerModel,
    InUse,
    LicenceModel,
    LicenceRequest,
    Quantity,
)
from tmr.api.licences import Constituent, Holder, LicenceState


class ExplainRequest(LicenceRequest):
    """Prediction for a request. Nothing changes."""

    access_mode: AccessMode = AccessMode.USER_LIMIT
    units: Annotated[int, Field(strict=True, ge=0, le=UNITS_MAX), WHOLE] = 0
    borrow_seconds: Annotated[
        int | None, Field(strict=True, ge=60, le=BORROW_MAX, description="Explain a borrowing."), WHOLE
    ] = None
    client: Annotated[
        str | None,
        StringConstraints(max_length=TEXT_MAX),
        Field(
            description="Ask for another certificate's name; an operator's is `operator NAME`. For operators."
        ),
    ] = None
    address: Annotated[
        str | None,
        StringConstraints(max_length=64),
        Field(description="Ask for another IP address. For operators."),
    ] = None


class Candidate(LicenceModel):
    """One licence of the product: whether it would be given, and why not."""

    name: str = ""
    state: LicenceState
    granted: bool
    emergency: bool = False
    problem: str = Field(default="", description="Slug of the problem that a request would get.")
    detail: str = ""
    rule: str = Field(default="", description="The access rule that decided, where one did.")
    in_use: InUse
    quantity: Quantity
    borrowed: int = 0
    units_remaining: int | None = None
    ends: AwareDatetime | None = Field(default=None, description="When the licence stops being valid.")
    constituents: tuple[Constituent, ...]
    holders: tuple[Holder, ...] = ()
    next_end: AwareDatetime | None = None


class Explanation(AnswerModel):
    """Prediction for a request made now, and everything that decides it."""

    granted: bool = Field(description="A request would get a seat now.")
    problem: str = Field(default="", description="Slug of the problem that it would get.")
    detail: str = ""
    asked: dict[str, Any]
    licences: tuple[Candidate, ...] = Field(description="The licences that were looked at, in this order.")
    waiting: int = Field(default=0, description="Requests that wait for a seat of this product.")
    certified_time: AwareDatetime
