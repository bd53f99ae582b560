# SPDX-License-Identifier: Apache-2.0
"""Commands of the journal to the ledger. Times are certified Unix milliseconds, from the entry."""

import functools
from typing import Annotated, Final, Literal

import msgspec

from tmr.ledger.access import AccessList
from tmr.licensing import LicenceKey, SignedStatement
from tmr.licensing.options import UNITS_MAX
from tmr.licensing.packed import unpack
from tmr.licensing.spelling import SECONDS_MAX

# What a newer version added to a command is an error, too: without it, it would be another command.
# Bounds are the decoder's: what a twin writes into the journal is input from outside. Units below zero would
# be given back, and numbers that no longer fit an outcome could be neither carried out nor undone.
Units = Annotated[int, msgspec.Meta(ge=0, le=UNITS_MAX)]
SomeUnits = Annotated[int, msgspec.Meta(ge=1, le=UNITS_MAX)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=SECONDS_MAX)]
Bits = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Date = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
Count = Annotated[int, msgspec.Meta(ge=0, le=UNITS_MAX)]

AccessMode = Literal["user-limit", "no-user-limit", "exclusive", "station-share"]
"""As CodeMeter has them: each session takes a seat; takes none; sole holder; one seat for each station."""

FreedBy = Literal["release", "expiry", "operator"]
LicenceEnd = Literal["licence-expired", "licence-not-active", "licence-removed", "licence-unavailable"]
"""Ends of a session that is heard, but whose licence cannot be used."""


class StateContainers(msgspec.Struct, frozen=True, tag="state-containers", forbid_unknown_fields=True):
    """Statements of the containers about what they hold, each signed by its container.

    The ledger merges them itself, so that no twin can invent a licence.
    """

    statements: tuple[SignedStatement, ...]


class Trust(msgspec.Struct, frozen=True, tag="trust", forbid_unknown_fields=True):
    """An operator replaced the container of `upstream`: from now on believe this key (Ed25519, 32 bytes)."""

    upstream: str
    key: bytes


class Withdraw(msgspec.Struct, frozen=True, tag="withdraw", forbid_unknown_fields=True):
    """The container of `upstream` is gone: another one, with this fingerprint, answers in its place.

    What the former one stated does not count until it states it again, or an operator trusts the other one.
    """

    upstream: str
    container: str


class Grant(msgspec.Struct, frozen=True, tag="grant", forbid_unknown_fields=True):
    """Give `client` one access to one of the licences `keys` of a product, the first that is free.

    `request_id` is the client's idempotency key; `ttl` seconds without a heartbeat end the session.
    """

    request_id: str
    client: str
    """Name in the certificate."""
    session: str
    """Id that the session, or the place in the queue, will have."""
    firm_code: int
    product_code: int
    keys: tuple[LicenceKey, ...]
    """Licences of the product that are available now, in the order in which they are tried."""
    mode: AccessMode
    ttl: Seconds
    station: str
    user: str = ""
    process: str = ""
    address: str = ""
    """IP address that the request came from."""
    instance: str = ""
    """Names one run place of the application on its station: asking again replaces the session it had."""
    features: Bits = 0
    """Bits that the licence's Feature Map must have."""
    released_ms: Date | None = None
    """Release date of the application's version, for the Maintenance Period; None: not checked."""
    units: Units = 0
    """Units to take at the start, with the grant or not at all."""
    wait: bool = False
    """Queue for a seat where none is free."""
    only: tuple[int | None, int | None] = (None, None)
    """TMR-Id and reference that were asked for; None: any."""

    @property
    def product(self) -> tuple[int, int]:
        """Firm Code and Product Code."""
        return self.firm_code, self.product_code

    @property
    def run_place(self) -> tuple[str, str, str, int, int]:
        """Place in which the application runs, if it names its instance."""
        return self.client, self.station, self.instance, self.firm_code, self.product_code


class Consume(msgspec.Struct, frozen=True, tag="consume", forbid_unknown_fields=True):
    """Take `units` from the Unit Counter of the licence of a session."""

    request_id: str
    client: str
    session: str
    units: SomeUnits


class Borrow(msgspec.Struct, frozen=True, tag="borrow", forbid_unknown_fields=True):
    """Take a seat out of the network for `seconds`; `borrower` may use it without asking anybody."""

    request_id: str
    client: str
    borrow: str
    """Id that the borrowing will have."""
    firm_code: int
    product_code: int
    keys: tuple[LicenceKey, ...]
    seconds: Seconds
    borrower: str
    """SHA-256 (hexadecimal) of the public key, SubjectPublicKeyInfo in DER, of the borrower's certificate."""
    station: str
    user: str = ""
    address: str = ""
    features: Bits = 0
    released_ms: Date | None = None
    only: tuple[int | None, int | None] = (None, None)

    @property
    def product(self) -> tuple[int, int]:
        """Firm Code and Product Code."""
        return self.firm_code, self.product_code


class Free(msgspec.Struct, frozen=True, tag="free", forbid_unknown_fields=True):
    """End a session, or give up a place in the queue. `client` None: of any client (expiry, operator)."""

    session: str
    client: str | None
    by: FreedBy | LicenceEnd
    who: str = ""
    """The operator."""


class GiveBack(msgspec.Struct, frozen=True, tag="give-back", forbid_unknown_fields=True):
    """End a borrowing. `client` None: of any client (its time has come, operator)."""

    borrow: str
    client: str | None
    by: FreedBy
    who: str = ""


class SetAccess(msgspec.Struct, frozen=True, tag="set-access", forbid_unknown_fields=True):
    """From now on these rules say who may use what. `version`: of the list that it replaces."""

    access: AccessList
    version: int
    who: str


class DenialCount(msgspec.Struct, frozen=True, array_like=True):
    """Requests that were refused from the mirror alone, equal but for their time: one line of the record."""

    firm_code: int
    product_code: int
    reason: str
    rule: str
    client: str
    station: str
    user: str
    address: str
    count: Count


class RecordDenials(msgspec.Struct, frozen=True, tag="record-denials", forbid_unknown_fields=True):
    """Put refusals into the record."""

    denials: tuple[DenialCount, ...]


class AcceptTime(msgspec.Struct, frozen=True, tag="accept-time", forbid_unknown_fields=True):
    """Put into the record that an operator, `who`, had certified time go on from this entry's time.

    `before_ms`: what it was before. Nothing else depends on this command.
    """

    before_ms: Date
    who: str


TOGETHER_MAX: Final = 200
"""Commands in one entry: no other message is read before all of them are carried out."""


Body = Annotated[bytes, msgspec.Meta(min_length=32)]
"""A command as `encode` writes it. None is shorter; what is would cost more than it weighs."""


class CommandBatch(msgspec.Struct, frozen=True, tag="command-batch", forbid_unknown_fields=True):
    """Commands that came at the same time: carried out one after the other."""

    bodies: Annotated[tuple[Body, ...], msgspec.Meta(min_length=1, max_length=TOGETHER_MAX)]


Request = Grant | Consume | Borrow
"""Commands with an idempotency key."""
Shared = Request | Free | GiveBack
"""Commands that may share an entry with others. What changes containers or rules has one of its own."""
Command = Shared | StateContainers | Trust | SetAccess | RecordDenials | Withdraw | AcceptTime


def question(request: Request) -> tuple[object, ...]:
    """All that the client asked for, without what the server added: equal in all attempts of one request.

    A request for a session may be repeated with another `wait`: that gives the place in the queue up.
    """
    if isinstance(request, Consume):
        return "consume", request.session, request.units
    common = (
        request.firm_code,
        request.product_code,
        request.station,
        request.user,
        request.features,
        request.released_ms,
        request.only,
    )
    if isinstance(request, Borrow):
        return ("borrow", *common, request.seconds, request.borrower)
    return "grant", *common, request.mode, request.ttl, request.instance, request.units


def encoded_as(body: bytes, *kinds: type[msgspec.Struct]) -> bool:
    """Tells whether the body begins as commands of these kinds do: then `decode` makes one of them, or fails.

    False also where it is one of them that was spelled in another way than by `encode`.
    """
    return body.startswith(_beginnings(kinds))


@functools.cache
def _beginnings(kinds: tuple[type[msgspec.Struct], ...]) -> tuple[bytes, ...]:
    """The map's length and its first member, which is the tag: as many members as there can be."""
    found = []
    for kind in kinds:
        config, members = kind.__struct_config__, 1 + len(kind.__struct_fields__)
        tag = msgspec.msgpack.encode({config.tag_field: config.tag})[1:]
        head = bytes((0x80 | members,)) if members < 16 else b"\xde" + members.to_bytes(2, "big")
        found.append(head + tag)
    return tuple(found)


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Command | CommandBatch] = msgspec.msgpack.Decoder(Command | CommandBatch)
_shared_decoder: msgspec.msgpack.Decoder[Shared] = msgspec.msgpack.Decoder(Shared)


def encode(command: Command | CommandBatch) -> bytes:
    """The command as a journal entry's body."""
    return _encoder.encode(command)


def decode(body: bytes) -> Command | CommandBatch:
    """The command in a journal entry's body. Raises msgspec.DecodeError and nothing else."""
    return unpack(_decoder, body)


def decode_shared(body: bytes) -> Shared:
    """One of the commands that share an entry. Raises msgspec.DecodeError and nothing else."""
    return unpack(_shared_decoder, body)
