# SPDX-License-Identifier: Apache-2.0
"""Models of the status and the health of one server."""

from enum import StrEnum

from pydantic import AwareDatetime, Field

from tmr.api.deployment import DeploymentName
from tmr.api.fields import AnswerModel, InUse, LicenceModel, Quantity
from tmr.api.licences import Constituent, LicenceState


class Role(StrEnum):
    """Role of a twin at the moment; a `candidate` asks the upstreams for a majority lease."""

    ACTIVE = "active"
    PASSIVE = "passive"
    CANDIDATE = "candidate"


class HealthState(StrEnum):
    """Health in one word.

    `healthy`: licences are served, and no redundancy is lost. `degraded`: licences are served, but
    redundancy is lost or an alarm stands. `down`: licences are not served.
    """

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"


class UpstreamStatus(AnswerModel):
    """One upstream, as this twin sees it."""

    name: str
    reachable: bool
    voting: bool
    container: str | None = None
    match: int | None = Field(default=None, description="Last journal index known to be on its disk.")
    commit: int | None = Field(default=None, description="Last journal index that it knows to be committed.")
    lag: int | None = Field(default=None, description="Journal entries that it is behind.")
    last_error: str | None = None
    since: AwareDatetime | None = Field(default=None, description="When it became reachable, or unreachable.")
    clock_synchronised: bool | None = Field(
        default=None, description="A time source keeps its clock; null: not known."
    )


class LicenceStatus(LicenceModel):
    """One TMR licence: how many constituents vote for it."""

    name: str = ""
    quantity: Quantity
    in_use: InUse
    votes: int = Field(
        ge=0,
        description="Available, identical constituents: two are needed, one on a network licence server.",
    )
    state: LicenceState
    borrowed: int = Field(default=0, ge=0, description="Seats in use that are borrowed.")
    units: int | None = Field(default=None, description="Unit Counter: units issued in all.")
    units_remaining: int | None = Field(default=None, ge=0)
    emergency: bool = Field(
        default=False, description="Used only where no ordinary licence of the product is free or valid."
    )
    activation: AwareDatetime | None = Field(default=None, description="Before it is not valid.")
    first_use: AwareDatetime | None = Field(
        default=None, description="When a licence with a Usage Period was used first; null: not yet."
    )
    ends: AwareDatetime | None = Field(
        default=None, description="The earlier of Expiration Time and end of the Usage Period, where known."
    )
    waiting: int = Field(default=0, ge=0, description="Requests that wait for a seat of the product.")
    constituents: tuple[Constituent, ...] = ()


class CertificateEnd(AnswerModel):
    """End of the first certificate, CA or revocation list that a machine uses."""

    machine: str
    file: str = Field(description="`certificate`, `ca` or `crl`.", examples=["certificate"])
    ends: AwareDatetime


class HealthReason(AnswerModel):
    """Reason why a system is not healthy: one of the alarms, in parts."""

    machine: str = Field(
        description="The machine concerned; if it is not known, the machine that reports it."
    )
    what: str = Field(description="What is wrong, a sentence.")
    remedy: str = Field(default="", description="What to do; empty: `what` says it.")

    @property
    def text(self) -> str:
        """Both in one sentence, as in `alarms`."""
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


class Health(AnswerModel):
    """Health of the system, as far as this server knows."""

    state: HealthState
    reasons: tuple[HealthReason, ...] = Field(
        default=(), description="Why it is not healthy, what matters most first; empty: it is."
    )


class Status(AnswerModel):
    """One server. Both twins answer it, active or not; a network licence server is always active."""

    name: str
    role: Role
    epoch: int = Field(description="Own term if active, else the last one seen.")
    lease_remaining_ms: int | None = Field(description="Until the lease ends unless renewed; null: none.")
    vip: tuple[str, ...] = Field(
        description="The virtual addresses that clients use; none of a network licence server."
    )
    peer: str | None = Field(default=None, description="The twin that is believed to be active, if another.")
    version: str
    certified_time: AwareDatetime | None
    time_in_doubt: AwareDatetime | None = Field(
        default=None,
        description="What the clocks show, where certified time does not follow them; null: it does.",
    )
    upstreams: tuple[UpstreamStatus, ...]
    licences: tuple[LicenceStatus, ...]
    sessions: int = Field(ge=0)
    commit: int = Field(ge=0, description="Last committed journal index that this twin knows.")
    health: Health
    alarms: tuple[str, ...] = Field(
        default=(),
        description="The reasons of `health` in words; there is none if and only if it is healthy.",
    )
    deployment: DeploymentName = Field(
        default="tmr",
        description="Kind of system: `network` is one server alone, without twins.",
    )
    container: str = Field(
        default="",
        description="Serial of the container that clients see: the virtual one of a TMR system.",
        examples=["131-560068967"],
    )
    act_id: str = Field(default="", description="Its CmActId.", examples=["lab-0123456789abcdef"])
    certificates: tuple[CertificateEnd, ...] = Field(
        default=(),
        description="Ends of what this server uses, and of the upstreams' certificates; the first end first.",
    )
