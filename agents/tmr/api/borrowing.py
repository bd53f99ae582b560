# SPDX-License-Identifier: Apache-2.0
"""Models of borrowing: seats taken out of the network for a bounded time."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from tmr.api.fields import BORROW_MAX, WHOLE, AnswerModel, LicenceModel, LicenceRequest


class BorrowRequest(LicenceRequest):
    """Takes a seat out of the network for a bounded time. Goes with the header `Idempotency-Key`.

    The borrower is whose certificate the request is sent with: only its key can use the borrow file.
    """

    seconds: Annotated[
        int,
        Field(strict=True, ge=60, le=BORROW_MAX, description="For how long.", examples=[259200]),
        WHOLE,
    ]


class Borrowing(LicenceModel):
    """A seat that is out of the network."""

    id: str
    client: str = Field(
        description="Name in the certificate of the borrower; of an operator, `operator NAME`."
    )
    station: str
    user: str = ""
    since: AwareDatetime = Field(alias="from")
    until: AwareDatetime = Field(description="Then the seat comes back by itself (60 s later, to be safe).")


class BorrowingList(AnswerModel):
    """The own borrowings; an operator sees everybody's."""

    borrowings: tuple[Borrowing, ...]
    next: str | None = Field(
        default=None, description="There is more: ask again with this as `after`. Missing on the last page."
    )
