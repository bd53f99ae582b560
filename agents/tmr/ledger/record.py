# SPDX-License-Identifier: Apache-2.0
"""The licence tracking record: one hash-chained line for all that happened, a chain for each Firm Code.

Every member of the quorum makes the same lines, since the ledger does. The hash of a line is SHA-256 over the
hash of the line before (32 bytes, zeros for the first) and the line itself, JSON as `encode_line` writes it.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

Event = Literal[
    "granted",
    "emergency",
    "released",
    "expired",
    "ended",
    "replaced",
    "queued",
    "unqueued",
    "denied",
    "units",
    "borrowed",
    "returned",
    "time-accepted",
]
"""`emergency`: granted on an emergency licence. `ended`: by an operator. `returned`: also when time is up."""

GENESIS: Final = bytes(32)
"""Hash that the first line of a chain follows."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line. `time_ms`: certified time. `id`: session, place in the queue, or borrowing."""

    firm_code: int
    seq: int
    """1, 2, 3, … for each Firm Code."""
    time_ms: int
    index: int
    """Journal entry that caused it."""
    event: Event
    product_code: int
    tmr_id: int | None = None
    reference: int = 0
    id: str = ""
    client: str = ""
    user: str = ""
    station: str = ""
    address: str = ""
    mode: str = ""
    units: int = 0
    until_ms: int | None = None
    count: int = 1
    reason: str = ""
    detail: str = ""
    rule: str = ""
    """The access rule that decided. No line has words that a version made: its hash is part of the digest."""
    before_ms: int | None = None
    """Certified time before an operator accepted another."""


class Head(msgspec.Struct, frozen=True, array_like=True):
    """Head of the chain of a Firm Code."""

    seq: int = 0
    hash: bytes = GENESIS


class ChainedLine(msgspec.Struct, frozen=True, array_like=True):
    """A line as a member keeps it: exact bytes, the hash that covers all lines up to it, and that before."""

    firm_code: int
    seq: int
    time_ms: int
    line: bytes
    hash: bytes
    before: bytes


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


def encode_line(line: Line) -> bytes:
    """The bytes of a line that its hash covers."""
    return _encoder.encode(line)


def decode_line(data: bytes) -> Line:
    """The line in its bytes. Raises msgspec.DecodeError."""
    try:
        return _decoder.decode(data)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from None


def chain(head: Head, line: Line) -> ChainedLine:
    """The line that follows `head`."""
    data = encode_line(line)
    return ChainedLine(line.firm_code, line.seq, line.time_ms, data, link(head.hash, data), head.hash)


def link(previous: bytes, data: bytes) -> bytes:
    """The hash of a line whose predecessor has the hash `previous`."""
    return hashlib.sha256(previous + data).digest()


def unbroken(lines: Sequence[ChainedLine]) -> bool:
    """Tells whether the lines, at least one, follow one another, and are what their bytes and hashes say."""
    previous: ChainedLine | None = None
    for chained in lines:
        try:
            line = decode_line(chained.line)
        except msgspec.DecodeError:
            return False
        if (line.firm_code, line.seq, line.time_ms) != (chained.firm_code, chained.seq, chained.time_ms):
            return False
        if link(chained.before, chained.line) != chained.hash or len(chained.before) != len(GENESIS):
            return False
        if previous is not None and (previous.firm_code, previous.seq + 1, previous.hash) != (
            chained.firm_code,
            chained.seq,
            chained.before,
        ):
            return False
        previous = chained
    return previous is not None
