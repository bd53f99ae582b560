"""The wire models of the client API: what goes over HTTPS as JSON, both ways.

The server's OpenAPI document is made from these classes, and the client reads answers with them. Answers may
hold members that this version does not know (twins are upgraded one after the other); requests may not.
Times are RFC 3339 with an offset, durations are seconds unless the name says otherwise.
"""

import re
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

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
"""What an idempotency key looks like. The same key with the same request is the same request."""

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
    """How a session uses a licence, as CodeMeter has it.

    `user-limit`: each session takes one seat. `no-user-limit`: takes no seat, but the licence must be valid.
    `exclusive`: one holder, and nobody else. `station-share`: all sessions of one station take one seat
    together.
    """

    USER_LIMIT = "user-limit"
    NO_USER_LIMIT = "no-user-limit"
    EXCLUSIVE = "exclusive"
    STATION_SHARE = "station-share"


class ConstituentState(StrEnum):
    """What one upstream contributes to a TMR licence.

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
    """Whether the container of one upstream can be used.

    `not-voting`: the upstream answers, but is still catching up or was excluded, so that it does not count.
    `replaced`: another container answers than the one that is believed, or an old copy of it; it does not
    count either.
    """

    AVAILABLE = "available"
    UNREACHABLE = "unreachable"
    NOT_VOTING = "not-voting"
    REPLACED = "replaced"


class LicenceState(StrEnum):
    """Whether a licence can be used.

    `unavailable`: fewer than two available constituents. `expired`: past its Expiration Time or Usage Period.
    `not-active`: before its Activation Time.
    """

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    EXPIRED = "expired"
    NOT_ACTIVE = "not-active"


class Role(StrEnum):
    """What a twin does at the moment; a `candidate` asks the upstreams for a majority lease."""

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


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class _Licence(_Answer):
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


# -- sessions ----------------------------------------------------------------------------------------------


class _Wish(_Request):
    """Which licence, for whom."""

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


class SessionRequest(_Wish):
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


class Session(_Licence):
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


class QueuePlace(_Answer):
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


class UnitsRequest(_Request):
    """Takes units. Goes with the header `Idempotency-Key`: the same key takes them once."""

    units: Units


class Consumption(_Licence):
    """Units that were taken from the licence of a session."""

    session: SessionId
    units: int
    remaining: int = Field(ge=0)
    epoch: int


class HeldSession(_Licence):
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


class QueuedRequest(_Answer):
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


class SessionList(_Answer):
    """The own sessions; an operator sees everybody's."""

    sessions: tuple[HeldSession, ...]
    queue: tuple[QueuedRequest, ...] = Field(default=(), description="Requests that wait for a seat.")
    next: str | None = Field(
        default=None, description="There is more: ask again with this as `after`. Missing on the last page."
    )


class EndedBy(StrEnum):
    """How a session ended. `replaced`: the same instance of the application asked again."""

    RELEASE = "release"
    EXPIRY = "expiry"
    OPERATOR = "operator"
    REPLACED = "replaced"


class EndedSession(_Answer):
    """How a session ended, as long as the server remembers it (an hour)."""

    id: SessionId
    by: EndedBy
    who: str = Field(default="", description="The operator, or the session that replaced it.")
    at: AwareDatetime


class Heartbeat(_Answer):
    """The session lives on: a fresh time to live has begun."""

    id: SessionId
    ttl: int = Field(description="Seconds until the next heartbeat is needed at the latest.")
    epoch: int


class HeartbeatsRequest(_Request):
    """One heartbeat for many sessions."""

    sessions: tuple[SessionId, ...] = Field(min_length=1, max_length=HEARTBEATS_MAX)


class Heartbeats(_Answer):
    """Which of the sessions live on. Every session asked for is in one of the lists."""

    alive: tuple[SessionId, ...]
    lost: tuple[SessionId, ...] = Field(description="Ended, or never granted to this client.")
    unavailable: tuple[SessionId, ...] = Field(
        default=(), description="Not kept alive, because too few constituents of the licence are available."
    )
    ended: tuple[EndedSession, ...] = Field(default=(), description="How those that are lost ended.")


# -- batches -----------------------------------------------------------------------------------------------

StepKey = Annotated[
    str,
    StringConstraints(pattern=IDEMPOTENCY_KEY),
    Field(description="Idempotency key of this step: the same one when the step is repeated."),
]


class OpenStep(_Request):
    """Asks for one access to one licence, as `POST /v1/sessions` does."""

    do: Literal["open"]
    key: StepKey
    request: SessionRequest


class UnitsStep(_Request):
    """Takes units from the licence of a session, as `POST /v1/sessions/{session}/units` does."""

    do: Literal["units"]
    key: StepKey
    session: SessionId
    units: Units


class ReleaseStep(_Request):
    """Ends a session, as `DELETE /v1/sessions/{session}` does."""

    do: Literal["release"]
    session: SessionId


Step = Annotated[OpenStep | UnitsStep | ReleaseStep, Field(discriminator="do")]


class Batch(_Request):
    """Many requests of one application. Each is decided for itself, and none waits for one before it."""

    steps: tuple[Step, ...] = Field(min_length=1, max_length=BATCH_MAX)


class StepResult(_Answer):
    """What came of one step: what the request would have been answered alone."""

    status: int = Field(ge=200, le=599, description="HTTP status.")
    session: Session | None = Field(default=None, description="201: the session that was opened.")
    place: QueuePlace | None = Field(default=None, description="202: a place in the queue.")
    consumption: Consumption | None = Field(default=None, description="200: the units that were taken.")
    problem: "Problem | None" = Field(default=None, description="Why it was not done.")


class BatchResult(_Answer):
    """One result for each step, in the order of the steps."""

    results: tuple[StepResult, ...]


# -- containers and licences -------------------------------------------------------------------------------


class Constituent(_Answer):
    """One third of a TMR licence."""

    upstream: str
    container: str | None = Field(default=None, description="Serial of its container, where it is known.")
    state: ConstituentState
    detail: str = Field(default="", description="What exactly is wrong, for people.")


class Unavailable(_Licence):
    """A TMR licence that is known, but cannot be used: fewer than two constituents are available."""

    quantity: Quantity = None
    name: str = ""
    constituents: tuple[Constituent, ...]


class ContainerUpstream(_Answer):
    """An upstream behind the virtual container."""

    name: str
    container: str | None = Field(default=None, description="Serial of its container, where it is known.")
    state: ContainerState


class Container(_Answer):
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


class ContainerList(_Answer):
    """The containers that this server offers: one."""

    containers: tuple[Container, ...]


class Item(_Licence):
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
    constituents: tuple[Constituent, ...]
    alarms: tuple[str, ...] = ()

    def has_features(self, features: int) -> bool:
        """Whether the Feature Map has all these bits."""
        return not features & ~self.feature_map


class ItemList(_Answer):
    """What a container holds."""

    items: tuple[Item, ...]
    unavailable: tuple[Unavailable, ...] = ()


# -- status ------------------------------------------------------------------------------------------------


class UpstreamStatus(_Answer):
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


class LicenceStatus(_Licence):
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


class HealthReason(_Answer):
    """Reason why a system is not healthy: one of the alarms, in parts."""

    machine: str = Field(description="The machine that it is about; where that is not known, that tells it.")
    what: str = Field(description="What is wrong, a sentence.")
    remedy: str = Field(default="", description="What to do; empty: `what` says it.")

    @property
    def text(self) -> str:
        """Both in one sentence, as in `alarms`."""
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


class Health(_Answer):
    """Health of the system, as far as this server knows."""

    state: HealthState
    reasons: tuple[HealthReason, ...] = Field(
        default=(), description="Why it is not healthy, what matters most first; empty: it is."
    )


class Status(_Answer):
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
    network: bool = Field(
        default=False, description="A network licence server: one server alone, without twins."
    )


class Switchover(_Answer):
    """The active twin steps down; the other takes over."""

    from_: str = Field(alias="from", description="The twin that steps down.")


class TrustRequest(_Request):
    """Whose new container is to be believed, as an operator has seen it on that machine."""

    upstream: str = Field(min_length=1, max_length=128, description="Name of the upstream.")
    fingerprint: str = Field(
        min_length=64,
        max_length=100,
        description="SHA-256 of the container's public key: 64 hexadecimal digits. Blanks, colons and "
        "hyphens between them do not matter.",
    )


class Trusted(_Answer):
    """The container of the upstream is believed."""

    upstream: str
    container: str = Field(description="Its serial.")
    fingerprint: str
    changed: bool = Field(description="False: it was believed before.")


class TimeRequest(_Request):
    """What time an operator says that it is."""

    time: AwareDatetime = Field(description="Within ten minutes of what the clocks show.")


class TimeAccepted(_Answer):
    """Certified time goes on from what the clocks show."""

    time: AwareDatetime = Field(description="Certified time now.")
    before: AwareDatetime = Field(description="What it was before.")
    changed: bool = Field(description="False: certified time was this already, nothing waited.")


# -- borrowing ---------------------------------------------------------------------------------------------


class BorrowRequest(_Wish):
    """Takes a seat out of the network for a bounded time. Goes with the header `Idempotency-Key`.

    The borrower is whose certificate the request is sent with: only its key can use the borrow file.
    """

    seconds: Annotated[
        int,
        Field(strict=True, ge=60, le=BORROW_MAX, description="For how long.", examples=[259200]),
        WHOLE,
    ]


class Borrowing(_Licence):
    """A seat that is out of the network."""

    id: str
    client: str = Field(
        description="Name in the certificate of the borrower; of an operator, `operator NAME`."
    )
    station: str
    user: str = ""
    since: AwareDatetime = Field(alias="from")
    until: AwareDatetime = Field(description="Then the seat comes back by itself (60 s later, to be safe).")


class BorrowingList(_Answer):
    """The own borrowings; an operator sees everybody's."""

    borrowings: tuple[Borrowing, ...]
    next: str | None = Field(
        default=None, description="There is more: ask again with this as `after`. Missing on the last page."
    )


# -- explanations ------------------------------------------------------------------------------------------


class ExplainRequest(_Wish):
    """What would happen to a request. Nothing changes."""

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


class Holder(_Answer):
    """Who holds seats of the licence that was asked for."""

    user: str = ""
    station: str
    access_mode: AccessMode | None = Field(description="null: it is borrowed.")
    since: AwareDatetime
    seats: int = Field(ge=0)
    until: AwareDatetime | None = Field(
        default=None, description="When a borrowing ends; null: when the session is released."
    )


class Candidate(_Licence):
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


class Explanation(_Answer):
    """What would happen to a request now, and everything that decides it."""

    granted: bool = Field(description="A request would get a seat now.")
    problem: str = Field(default="", description="Slug of the problem that it would get.")
    detail: str = ""
    asked: dict[str, Any]
    licences: tuple[Candidate, ...] = Field(description="The licences that were looked at, in this order.")
    waiting: int = Field(default=0, description="Requests that wait for a seat of this product.")
    certified_time: AwareDatetime


# -- problems ----------------------------------------------------------------------------------------------


class Problem(_Answer):
    """Why a request was not fulfilled (RFC 9457, `application/problem+json`)."""

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


StepResult.model_rebuild()
BatchResult.model_rebuild()
