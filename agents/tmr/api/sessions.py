# SPDX-License-Identifier: Apache-2.0
"""Models of sessions: requests, grants, queue places, units, heartbeats."""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from tmr.api.fields import (
    HEARTBEATS_MAX,
    TTL_DEFAULT,
    UNITS_MAX,
    WHOLE,
    AccessMode,
    AnswerModel,
    InUse,
    LicenceModel,
    LicenceRequest,
    Quantity,
    RequestModel,
    SessionId,
    Text,
    Ttl,
    Units,
)


class SessionRequest(LicenceRequest):
    """Asks for one access to one licence. Goes with the header `Idempotency-Key`."""

    access_mode: AccessMode = AccessMode.USER_LIMIT
    ttl: Ttl = TTL_DEFAULT
    process: Text = Field(
        default="", description="What uses it, for the operator.", examples=["simulate[4711]"]
    )
    instance: Text = Field(
        default="",
        description="Names one run place of the application on its station. Asking again ends the session "
        "that it had, at once: so a restarted application need not wait for its own seat.",
        examples=["press-line-3"],
    )
    units: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=UNITS_MAX,
            description="Units to take together with the access, or neither.",
        ),
        WHOLE,
    ] = 0
    wait: Annotated[
        bool,
        Field(
            strict=True,
            description="Queue where no seat is free: the answer is then 202 with the position. Repeat the "
            "request with the same key, within its time to live, until it is 201. Repeated with `false`, it "
            "gives the place up: it is refused, unless a seat came before.",
        ),
    ] = False


class Session(LicenceModel):
    """One access to one licence, kept alive by heartbeats."""

    id: SessionId
    container: str = Field(description="Serial of the container that granted it.", examples=["131-1234567"])
    access_mode: AccessMode
    ttl: int = Field(description="Seconds without a heartbeat after which it ends.")
    granted_at: AwareDatetime = Field(description="Certified time of the grant.")
    in_use: InUse
    quantity: Quantity
    epoch: int = Field(description="Term of the active twin that answered.")
    ends_at: AwareDatetime | None = Field(
        default=None,
        description="When the licence stops being valid: Expiration Time or end of the Usage Period.",
    )
    units_remaining: int | None = Field(
        default=None,
        ge=0,
        description="Units left of a licence with a Unit Counter, at the time of the grant.",
    )
    emergency: bool = Field(
        default=False, description="An emergency licence: no ordinary one was free or valid."
    )
    warnings: tuple[str, ...] = Field(default=(), description="What the user should be told.")


class QueuePlace(AnswerModel):
    """A place in the queue of a product. It lives as a session does: by being asked for, within its ttl."""

    id: SessionId
    firm_code: int
    product_code: int
    position: int = Field(ge=1, description="1 is next.")
    waiting: int = Field(ge=1, description="Requests in the queue.")
    since: AwareDatetime
    ttl: int = Field(description="Seconds within which to repeat the request.")
    next_end: AwareDatetime | None = Field(
        default=None,
        description="When a seat comes back at the latest, as far as it is known: the end of a borrowing.",
    )
    epoch: int


class UnitsRequest(RequestModel):
    """Takes units. Goes with the header `Idempotency-Key`: the same key takes them once."""

    units: Units


class Consumption(LicenceModel):
    """Units that were taken from the licence of a session."""

    session: SessionId
    units: int
    remaining: int = Field(ge=0)
    epoch: int


class HeldSession(LicenceModel):
    """A session as the list of sessions shows it."""

    id: SessionId
    client: str = Field(
        description="Name in the certificate of the client that holds it; of an operator, `operator NAME`."
    )
    access_mode: AccessMode
    ttl: int
    granted_at: AwareDatetime
    station: str
    user: str = ""
    process: str = ""
    address: str = Field(default="", description="IP address that asked for it.")
    instance: str = ""
    remaining_ms: int | None = Field(
        default=None, description="Until it ends, unless a heartbeat comes; null: not known."
    )


class QueuedRequest(AnswerModel):
    """A request that waits for a seat."""

    id: SessionId
    client: str
    firm_code: int
    product_code: int
    access_mode: AccessMode
    position: int
    since: AwareDatetime
    station: str
    user: str = ""


class SessionList(AnswerModel):
    """The own sessions; an operator sees everybody's."""

    sessions: tuple[HeldSession, ...]
    queue: tuple[QueuedRequest, ...] = Field(default=(), description="Requests that wait for a seat.")
    next: str | None = Field(
        default=None, description="There is more: ask again with this as `after`. Missing on the last page."
    )


class EndedBy(StrEnum):
    """Way in which a session ended.

    `expiry`: no heartbeat came. `replaced`: the same instance of the application asked again. Then those
    whose licence ended: it expired, is not active yet, was removed by an update, or had too few constituents.
    """

    RELEASE = "release"
    EXPIRY = "expiry"
    OPERATOR = "operator"
    REPLACED = "replaced"
    LICENCE_EXPIRED = "licence-expired"
    LICENCE_NOT_ACTIVE = "licence-not-active"
    LICENCE_REMOVED = "licence-removed"
    LICENCE_UNAVAILABLE = "licence-unavailable"


class EndedSession(AnswerModel):
    """End of a session, as long as the server remembers it (an hour)."""

    id: SessionId
    by: EndedBy
    who: str = Field(default="", description="The operator, or the session that replaced it.")
    at: AwareDatetime


class Heartbeat(AnswerModel):
    """The session lives on: a fresh time to live has begun."""

    id: SessionId
    ttl: int = Field(description="Seconds until the next heartbeat is needed at the latest.")
    epoch: int


class HeartbeatsRequest(RequestModel):
    """One heartbeat for many sessions."""

    sessions: tuple[SessionId, ...] = Field(min_length=1, max_length=HEARTBEATS_MAX)


class Heartbeats(AnswerModel):
    """Sessions that live on, and those that ended. Every session asked for is in one of the lists."""

    alive: tuple[SessionId, ...]
    lost: tuple[SessionId, ...] = Field(description="Ended, or never granted to this client.")
    unavailable: tuple[SessionId, ...] = Field(
        default=(), description="Not kept alive, because too few constituents of the licence are available."
    )
    ended: tuple[EndedSession, ...] = Field(default=(), description="How those that are lost ended.")
