# SPDX-License-Identifier: Apache-2.0
"""Model of a problem document (RFC 9457): the reason why a request was not fulfilled.

Servers, upstreams, the client, the command and the frames of the twins use this one type. A server raises it
as `tmr.net.problem.ProblemError`, the client as an error of `tmr.api.errors`.
"""

import re
from typing import Any, Final, Self

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from tmr.api.fields import AnswerModel
from tmr.api.licences import Constituent, Holder, Unavailable
from tmr.api.sessions import EndedSession

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:tmr:problem:"
_EXCERPT: Final = 200
"""Bytes shown of an answer that is no problem document."""


class Problem(AnswerModel):
    """Reason why a request was not fulfilled (RFC 9457, `application/problem+json`)."""

    type: str = Field(description="`urn:tmr:problem:` and the slug.", examples=["urn:tmr:problem:no-quorum"])
    title: str = Field(description="The same for every problem of this type.")
    status: int = Field(ge=100, le=599)
    detail: str = Field(default="", description="What was wrong in this case.")
    code: int | None = Field(default=None, description="CodeMeter's number, where one exists.")
    remedy: str = Field(default="", description="What to do about it.")
    constituents: tuple[Constituent, ...] = Field(default=(), description="What is available where.")
    unavailable: tuple[Unavailable, ...] = Field(default=(), description="All licences that cannot be used.")
    holders: tuple[Holder, ...] = Field(default=(), description="Who holds the seats.")
    asked: dict[str, Any] | None = Field(default=None, description="What was asked for.")
    vip: tuple[str, ...] = Field(default=(), description="Where to ask instead.")
    rule: str = Field(default="", description="The access rule that decided, where one did.")
    next_end: AwareDatetime | None = Field(
        default=None, description="When a seat comes back at the latest, as far as it is known."
    )
    waiting: int | None = Field(default=None, description="Requests that wait for a seat already.")
    ended: EndedSession | None = Field(default=None, description="How the session ended.")
    mistakes: tuple[str, ...] = Field(default=(), description="Everything that is wrong with the request.")

    refusal: str = Field(
        default="", description="Code of an upstream's reason, such as `not-committed`; empty: none."
    )

    @classmethod
    def read(cls, body: bytes, status: int) -> Self:
        """The problem in an answer with this HTTP status. Never raises, whatever the body is.

        A body that is no problem document gives the type `about:blank`.
        """
        for form in (cls, _Essence):
            try:
                found = form.model_validate_json(body)
            except ValidationError:
                continue  # a newer server may explain in a form that this version cannot read
            return found if isinstance(found, cls) else cls.model_construct(**found.model_dump())
        text = body[:_EXCERPT].decode("utf-8", "replace")
        said = re.sub(r"[^\x20-\x7e]+", " ", text).strip()
        return cls(
            type="about:blank",
            title="The answer is no problem document",
            status=status if 100 <= status <= 599 else 500,
            detail=f"HTTP status {status} without an explanation{': ' + said if said else ''}",
            remedy="Check that the address and the port are those of a TMR server.",
        )

    @property
    def slug(self) -> str:
        """The last part of `type`, such as `no-more-licences`."""
        return self.type.rpartition(":")[2]


class _Essence(BaseModel):
    """Members that every version has."""

    type: str
    title: str
    status: int
    detail: str = ""
    code: int | None = None
    remedy: str = ""
