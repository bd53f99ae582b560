# SPDX-License-Identifier: Apache-2.0
"""Registry of all that a twin asks of an upstream: one entry for each message.

The twin's client (`tmr.rpc.upstream_client`) and the upstream's dispatch (`tmr.upstream.dispatch`) work from
it. A new call is a message, its entry here, and its handler there.
"""

from enum import Enum
from typing import Any, Final, Union

import msgspec

from tmr.licensing import BorrowSignature, SignedStatement
from tmr.licensing.packed import unpack
from tmr.quorum.messages import (
    Acquire,
    Append,
    Appended,
    Bootstrap,
    Bootstrapped,
    Busy,
    Conflict,
    Fenced,
    Install,
    NotVoting,
    PreVote,
    Promise,
    Release,
    Released,
    Reply,
    Report,
    Reported,
    RequestRefused,
    Subscribe,
    Subscribed,
)
from tmr.rpc.messages import ReadContainer, SignBorrowing
from tmr.rpc.record_messages import (
    AttestRecord,
    LinePage,
    LinesStored,
    ListRecords,
    NotAttested,
    ReadLines,
    RecordAttested,
    RecordList,
    StoreLines,
)

SUBSCRIBE_WAIT: Final = 1.0
"""Seconds after which an upstream answers `Subscribe` even without news."""
INSTALL_TIMEOUT: Final = 10.0
"""Seconds for a snapshot to arrive and be stored."""
RECORD_TIMEOUT: Final = 10.0
"""Seconds for an answer about the record, which may have to be read from or written to the disk."""
BODY_LIMIT: Final = 8 * 2**20
"""Bytes of one message."""
SNAPSHOT_LIMIT: Final = 256 * 2**20
"""Bytes of one snapshot to install: a full ledger is larger than any batch."""


class Transport(Enum):
    """Connection that carries a message."""

    FRAMES = "frames"
    """Frames, answered at once."""
    LONG_POLL = "long poll"
    """Frames in a connection of its own: the answer may be late."""
    HTTP = "HTTP"
    """HTTP: large messages, which nothing is to wait behind."""
    HTTP_ORDERED = "HTTP, one at a time"
    """HTTP in one connection: one question about the record after the other."""


class Rpc(msgspec.Struct, frozen=True):
    """One call. `replies`: all that may come back. `timeout`, `wait`: see `patience`. `body_limit`: bytes."""

    message: type
    replies: tuple[type, ...]
    route: str
    transport: Transport = Transport.FRAMES
    timeout: float = 0.0
    wait: float = 0.0
    body_limit: int = BODY_LIMIT

    @property
    def framed(self) -> bool:
        """The message may come in a frame."""
        return self.transport in (Transport.FRAMES, Transport.LONG_POLL)

    def patience(self, ttl: float) -> float:
        """Seconds until the call has failed: half of the lease's TTL, more where the call takes longer."""
        return max(self.timeout, ttl / 2) + self.wait


RPCS: Final = (
    Rpc(Acquire, (PreVote, Promise, Busy, Fenced, NotVoting, RequestRefused), "/v1/lease/acquire"),
    Rpc(Release, (Released,), "/v1/lease/release"),
    Rpc(Append, (Appended, Conflict, Fenced, NotVoting, RequestRefused), "/v1/journal/append"),
    Rpc(Report, (Reported,), "/v1/report"),
    Rpc(Subscribe, (Subscribed,), "/v1/journal/subscribe", Transport.LONG_POLL, wait=SUBSCRIBE_WAIT),
    Rpc(
        Install,
        (Appended, Fenced, NotVoting, RequestRefused),
        "/v1/snapshot/install",
        Transport.HTTP,
        timeout=INSTALL_TIMEOUT,
        body_limit=SNAPSHOT_LIMIT,
    ),
    Rpc(Bootstrap, (Bootstrapped, RequestRefused), "/v1/bootstrap"),
    Rpc(ReadContainer, (SignedStatement,), "/v1/container", Transport.HTTP),
    Rpc(SignBorrowing, (BorrowSignature,), "/v1/borrowing/sign", Transport.HTTP),
    Rpc(ListRecords, (RecordList,), "/v1/record/list", Transport.HTTP_ORDERED, RECORD_TIMEOUT),
    Rpc(ReadLines, (LinePage,), "/v1/record/read", Transport.HTTP_ORDERED, RECORD_TIMEOUT),
    Rpc(StoreLines, (LinesStored,), "/v1/record/store", Transport.HTTP_ORDERED, RECORD_TIMEOUT),
    Rpc(
        AttestRecord,
        (RecordAttested, NotAttested),
        "/v1/record/attest",
        Transport.HTTP_ORDERED,
        RECORD_TIMEOUT,
    ),
)
"""All calls."""
BY_MESSAGE: Final[dict[type, Rpc]] = {rpc.message: rpc for rpc in RPCS}
"""The same, by the type of the message."""

_encoder: Final = msgspec.msgpack.Encoder()
_messages: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(Union[tuple(BY_MESSAGE)])  # noqa: UP007
_quorum: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(Reply)
"""Decoder of any reply of the protocol; the proposer takes none that does not belong to its request."""
_replies: Final[dict[type, msgspec.msgpack.Decoder[Any]]] = {
    rpc.message: _quorum if issubclass(rpc.replies[0], Reply) else msgspec.msgpack.Decoder(Union[rpc.replies])  # noqa: UP007
    for rpc in RPCS
}


def encode(message: object) -> bytes:
    """A message, or a reply, as msgpack."""
    return _encoder.encode(message)


def decode_message(data: bytes) -> Any:
    """A message of any entry. Raises msgspec.DecodeError, ValueError for anything else."""
    return unpack(_messages, data)


def decode_reply(message: type, data: bytes) -> Any:
    """A reply to such a message. Raises msgspec.MsgspecError for anything else."""
    return unpack(_replies[message], data)
