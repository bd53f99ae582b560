"""What the journal orders the ledger to do. Times are certified Unix milliseconds, from the entry."""

from typing import Literal

import msgspec

from tmr.licensing import SignedStatement

AccessMode = Literal["user-limit", "no-user-limit", "exclusive", "station-share"]
"""As CodeMeter has them: each session takes a seat; takes none; sole holder; one seat for each station."""

FreedBy = Literal["release", "expiry", "operator"]


class Assemble(msgspec.Struct, frozen=True, tag="assemble"):
    """What the three containers state that they hold, each signed by its container.

    The ledger merges them itself, so that no twin can invent a licence.
    """

    statements: tuple[SignedStatement, ...]


class Trust(msgspec.Struct, frozen=True, tag="trust"):
    """An operator replaced the container of `upstream`: from now on believe this key (Ed25519, 32 bytes)."""

    upstream: str
    key: bytes


class Grant(msgspec.Struct, frozen=True, tag="grant"):
    """Give `client` one access to one of the `tmr_ids` of a product, the first that is free.

    `request_id` is the client's idempotency key; `ttl` seconds without a heartbeat end the session.
    """

    request_id: str
    client: str
    session: str
    firm_code: int
    product_code: int
    tmr_ids: tuple[int, ...]
    mode: AccessMode
    ttl: int
    station: str
    user: str = ""
    process: str = ""

    def asks_the_same(self, other: "Grant") -> bool:
        """Whether `other` is a retry of this request (the session proposed and the choice may differ)."""
        return (self.firm_code, self.product_code, self.mode, self.ttl, self.station, self.user) == (
            other.firm_code,
            other.product_code,
            other.mode,
            other.ttl,
            other.station,
            other.user,
        )


class Free(msgspec.Struct, frozen=True, tag="free"):
    """End a session. `client` None: whoever holds it (expiry, operator)."""

    session: str
    client: str | None
    by: FreedBy


Command = Assemble | Trust | Grant | Free

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)


def encode(command: Command) -> bytes:
    """The command as a journal entry's body."""
    return _encoder.encode(command)


def decode(body: bytes) -> Command:
    """The command in a journal entry's body. Raises msgspec.DecodeError."""
    return _decoder.decode(body)
