# SPDX-License-Identifier: Apache-2.0
"""Model of a problem document (RFC 9457): the reason why a request was not fulfilled."""

from typing import Any

from pydantic import AwareDatetime, Field

from tmr.api.fields import AnswerModel
from tmr.api.licences import Constituent, Holder, Unavailable
from tmr.api.sessions import EndedSession


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

    @property
    def slug(self) -> str:
        """The last part of `type`, such as `no-more-licences`."""
        return self.type.rpartition(":")[2]
