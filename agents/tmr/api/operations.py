# SPDX-License-Identifier: Apache-2.0
"""Models of what an operator does: switchover, trust in a new container, acceptance of a time."""

from pydantic import AwareDatetime, Field

from tmr.api.fields import AnswerModel, RequestModel


class Switchover(AnswerModel):
    """The active twin steps down; the other takes over."""

    from_: str = Field(alias="from", description="The twin that steps down.")


class TrustRequest(RequestModel):
    """Container to be believed, as an operator has seen it on that machine."""

    upstream: str = Field(min_length=1, max_length=128, description="Name of the upstream.")
    fingerprint: str = Field(
        min_length=64,
        max_length=100,
        description="SHA-256 of the container's public key: 64 hexadecimal digits. Blanks, colons and "
        "hyphens between them do not matter.",
    )


class Trusted(AnswerModel):
    """The container of the upstream is believed."""

    upstream: str
    container: str = Field(description="Its serial.")
    fingerprint: str
    changed: bool = Field(description="False: it was believed before.")


class TimeRequest(RequestModel):
    """Time as an operator states it."""

    time: AwareDatetime = Field(description="Within ten minutes of what the clocks show.")


class TimeAccepted(AnswerModel):
    """Certified time goes on from what the clocks show."""

    time: AwareDatetime = Field(description="Certified time now.")
    before: AwareDatetime = Field(description="What it was before.")
    changed: bool = Field(description="False: certified time was this already, nothing waited.")
