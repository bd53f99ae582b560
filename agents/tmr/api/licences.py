# SPDX-License-Identifier: Apache-2.0
"""Models of containers and of the licences in them."""

from enum import StrEnum

from pydantic import AwareDatetime, Field

from tmr.api.fields import AccessMode, AnswerModel, InUse, LicenceModel, Quantity


class ConstituentState(StrEnum):
    """State of one upstream's part of a TMR licence.

    `available`: reachable, and it holds the Product Item. `missing`: reachable, but its container has no such
    Product Item, or is another one than the container that stated it. `unreachable`: the upstream does not
    answer, or does not vote. `different`: its Product Item differs from that of the others, an integrity
    alarm. `expired`: past its Expiration Time.
    """

    AVAILABLE = "available"
    MISSING = "missing"
    UNREACHABLE = "unreachable"
    DIFFERENT = "different"
    EXPIRED = "expired"


class ContainerState(StrEnum):
    """State of the container of one upstream.

    `not-voting`: the upstream answers, but is still catching up or was excluded, so that it does not count.
    `replaced`: another container answers than the one that is believed, or an old copy of it; it does not
    count either.
    """

    AVAILABLE = "available"
    UNREACHABLE = "unreachable"
    NOT_VOTING = "not-voting"
    REPLACED = "replaced"


class LicenceState(StrEnum):
    """State of a licence: usable, or the reason why not.

    `unavailable`: fewer than two available constituents. `expired`: past its Expiration Time or Usage Period.
    `not-active`: before its Activation Time.
    """

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    EXPIRED = "expired"
    NOT_ACTIVE = "not-active"


class Constituent(AnswerModel):
    """One third of a TMR licence."""

    upstream: str
    container: str | None = Field(default=None, description="Serial of its container, where it is known.")
    state: ConstituentState
    detail: str = Field(default="", description="What exactly is wrong, for people.")


class Unavailable(LicenceModel):
    """A TMR licence that is known, but cannot be used: fewer than two constituents are available."""

    quantity: Quantity = None
    name: str = ""
    constituents: tuple[Constituent, ...]


class ContainerUpstream(AnswerModel):
    """An upstream behind the virtual container."""

    name: str
    container: str | None = Field(default=None, description="Serial of its container, where it is known.")
    state: ContainerState


class Container(AnswerModel):
    """The virtual container: all TMR licences with at least two available, identical constituents.

    Of a network licence server, its own container: all licences in it that have no TMR-Id.
    """

    serial: str = Field(examples=["131-1234567"])
    kind: str = Field(description="What the mask of the serial says.")
    act_id: str = Field(description="CmActId that the twinned containers share.")
    items: int = Field(ge=0, description="Number of licences that can be used.")
    epoch: int
    certified_time: AwareDatetime = Field(description="Median of the upstreams' clocks, or the own clock.")
    upstreams: tuple[ContainerUpstream, ...]
    unavailable: tuple[Unavailable, ...] = ()


class ContainerList(AnswerModel):
    """The containers that this server offers: one."""

    containers: tuple[Container, ...]


class Item(LicenceModel):
    """A licence that can be used."""

    name: str = Field(default="", description="The vendor's name of the product.")
    quantity: Quantity
    in_use: InUse
    exclusive: bool = Field(description="Whether one session holds it for itself alone.")
    expiration: AwareDatetime | None = Field(description="From then on it is not valid; null: never ends.")
    activation: AwareDatetime | None = Field(default=None, description="Before it is not valid.")
    usage_seconds: int | None = Field(
        default=None, description="Usage Period: valid for so long from the first use on."
    )
    first_use: AwareDatetime | None = Field(
        default=None, description="When a licence with a Usage Period was used first; null: not yet."
    )
    ends: AwareDatetime | None = Field(
        default=None, description="The earlier of Expiration Time and end of the Usage Period, where known."
    )
    maintenance_start: AwareDatetime | None = Field(
        default=None, description="Maintenance Period: versions released from then on may use it …"
    )
    maintenance_end: AwareDatetime | None = Field(default=None, description="… up to then.")
    units: int | None = Field(default=None, description="Unit Counter: units issued in all.")
    units_remaining: int | None = Field(default=None, ge=0)
    emergency: bool = Field(
        default=False, description="Used only where no ordinary licence of the product is free or valid."
    )
    borrow_seconds: int | None = Field(
        default=None, description="Longest borrowing; null: it cannot be borrowed."
    )
    borrow_seats: int | None = Field(default=None, description="Seats that may be borrowed; null: all.")
    borrowed: int = Field(default=0, ge=0, description="Seats that are borrowed.")
    feature_map: int = Field(default=0, ge=0, description="32 bits, one for each module of the product.")
    text: str = Field(default="", description="The vendor's Text.")
    customer: str = Field(default="", description="Customer Owned License Information.")
    user_data: str = Field(default="", description="The vendor's User Data, Base64.")
    linger_seconds: int | None = Field(
        default=None, description="Linger Time: a seat stays its holder's for so long after its session."
    )
    lingering: int = Field(default=0, ge=0, description="Seats in use that are only kept for their holders.")
    named_user: bool = Field(default=False, description="A seat is a user's: all sessions of one take one.")
    constituents: tuple[Constituent, ...]
    alarms: tuple[str, ...] = ()

    def has_features(self, features: int) -> bool:
        """Tells whether the Feature Map has all these bits."""
        return not features & ~self.feature_map


class ItemList(AnswerModel):
    """Items of a container."""

    items: tuple[Item, ...]
    unavailable: tuple[Unavailable, ...] = ()


class Holder(AnswerModel):
    """Holder of seats of the licence that was asked for."""

    user: str = ""
    station: str
    access_mode: AccessMode | None = Field(description="null: it is borrowed, or kept (`lingering`).")
    since: AwareDatetime
    seats: int = Field(ge=0)
    until: AwareDatetime | None = Field(
        default=None,
        description="When a borrowing or a Linger Time ends; null: when the session is released.",
    )
    process: str = Field(default="", description="What uses it, as it was asked for.")
    lingering: bool = Field(
        default=False, description="Its session has ended; the seat is kept for its holder."
    )
