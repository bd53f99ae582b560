# SPDX-License-Identifier: Apache-2.0
"""Fields, limits and base classes that the models of the client API share.

The server's OpenAPI document is made from the models, and the client reads answers with them. Answers may
hold members that this version does not know (twins are upgraded one after the other); requests may not.
Times are RFC 3339 with an offset, durations are seconds unless the name says otherwise.
"""

import re
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

FIRM_CODE_MIN: Final = 6_000_000
"""Universal Firm Codes start here."""
CODE_MAX: Final = 2**32 - 1
TTL_MIN: Final = 5
TTL_MAX: Final = 3600
TTL_DEFAULT: Final = 60
TEXT_MAX: Final = 255
HEARTBEATS_MAX: Final = 1000
BATCH_MAX: Final = 200
"""Steps of one batch."""
PAGE_MAX: Final = 1000
"""Entries in one page of a list, at most and by default."""
UNITS_MAX: Final = 2**53 - 1
BORROW_MAX: Final = 100 * 366 * 86_400
"""Seconds: the longest borrowing that any licence can allow."""

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
IDEMPOTENCY_KEY: Final = r"^[A-Za-z0-9._~-]{8,128}$"
"""Pattern of an idempotency key. The same key with the same request is the same request."""

# Controls, line separators and writing-direction marks: these texts end up in terminals and tables.
UNFIT: Final = r"\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
"""Characters that no text may hold, as the inside of a regular expression's brackets."""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE: Final = BeforeValidator(_whole)
"""An integer in JSON may be written 7.0: JSON Schema calls it one (draft 2020-12, validation 6.1.1)."""


def _rfc3339(value: Any) -> Any:
    if isinstance(value, int | float) or (isinstance(value, str) and not _RFC3339.fullmatch(value)):
        raise ValueError("a time is written as 2026-03-01T00:00:00Z (RFC 3339)")
    return value


WRITTEN: Final = BeforeValidator(_rfc3339)
"""A time in a request, where pydantic alone would take numbers, too."""
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)

FirmCode = Annotated[
    int,
    Field(
        strict=True,
        ge=FIRM_CODE_MIN,
        le=CODE_MAX,
        description="The vendor: a Universal Firm Code.",
        examples=[6000010],
    ),
    WHOLE,
]

ProductCode = Annotated[
    int,
    Field(strict=True, ge=0, le=CODE_MAX, description="The vendor's number of the product.", examples=[201]),
    WHOLE,
]
TmrId = Annotated[
    int,
    Field(
        strict=True,
        ge=1,
        le=CODE_MAX,
        description="Tells apart the TMR licences of one product.",
        examples=[1],
    ),
    WHOLE,
]
Reference = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        le=CODE_MAX,
        description="Product Item Reference: tells apart the plain licences of one product.",
    ),
    WHOLE,
]
Features = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        le=CODE_MAX,
        description="Bits that the Feature Map of the licence must have, one for each module in use.",
        examples=[5],
    ),
    WHOLE,
]
Units = Annotated[
    int, Field(strict=True, ge=1, le=UNITS_MAX, description="Units of the licence's Unit Counter."), WHOLE
]
Released = Annotated[
    AwareDatetime | None,
    Field(
        description="Release date of the application's version, checked against the Maintenance Period; "
        "null: not checked.",
        examples=["2026-03-01T00:00:00Z"],
    ),
    WRITTEN,
]
Ttl = Annotated[
    int,
    Field(
        strict=True,
        ge=TTL_MIN,
        le=TTL_MAX,
        description="Seconds without a heartbeat after which a session ends.",
    ),
    WHOLE,
]
Quantity = Annotated[
    int | None, Field(ge=0, description="License Quantity: seats of the licence; null is unlimited.")
]
InUse = Annotated[int, Field(ge=0, description="Seats taken.")]

SessionId = Annotated[
    str, StringConstraints(min_length=1, max_length=128), Field(description="Names a session.")
]
Text = Annotated[str, StringConstraints(max_length=TEXT_MAX, pattern=rf"^[^{UNFIT}]*$")]


class AccessMode(StrEnum):
    """Mode in which a session uses a licence, as CodeMeter has it.

    `user-limit`: each session takes one seat. `no-user-limit`: takes no seat, but the licence must be valid.
    `exclusive`: one holder, and nobody else. `station-share`: all sessions of one station take one seat
    together.
    """

    USER_LIMIT = "user-limit"
    NO_USER_LIMIT = "no-user-limit"
    EXCLUSIVE = "exclusive"
    STATION_SHARE = "station-share"


class AnswerModel(BaseModel):
    """Base of what a server answers: members that are not known here are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class RequestModel(BaseModel):
    """Base of what a client asks: members that are not known here are a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class LicenceModel(AnswerModel):
    """Base of answers about one licence: its Firm Code, Product Code and TMR-Id or reference."""

    firm_code: int = Field(description="The vendor.")
    product_code: int = Field(description="The product.")
    tmr_id: int | None = Field(description="Tells apart the TMR licences of a product; null: outside a TMR.")
    reference: int = Field(
        default=0, description="Tells apart the licences of a product outside a TMR; otherwise 0."
    )

    @property
    def label(self) -> str:
        """`6000010:201`, followed by `#1` for TMR-Id 1, or by `/2` for the reference 2."""
        plain = f"{self.firm_code}:{self.product_code}"
        if self.tmr_id is not None:
            return f"{plain} #{self.tmr_id}"
        return f"{plain} /{self.reference}" if self.reference else plain


class LicenceRequest(RequestModel):
    """Base of requests for a licence: the licence, and the station and user that want it."""

    firm_code: FirmCode
    product_code: ProductCode
    tmr_id: TmrId | None = Field(
        default=None, description="One licence of the product; null: whichever is free."
    )
    reference: Reference | None = Field(
        default=None, description="One licence of the product outside a TMR; null: whichever is free."
    )
    station: Annotated[Text, StringConstraints(min_length=1)] = Field(
        description="The machine that uses the licence; `station-share` counts by it.", examples=["cad-07"]
    )
    user: Text = Field(default="", description="Who uses it: shown to others who find the licence taken.")
    features: Features = 0
    released: Released = None
