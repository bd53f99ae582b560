# SPDX-License-Identifier: Apache-2.0
"""Messages on a kept connection: each a head of nine bytes, then as many bytes as it says.

The head, big-endian: length of what follows (32 bits), number of the question (32 bits), kind (8 bits). An
answer repeats the number of its question; answers come in any order.
"""

import struct
from collections.abc import Generator
from typing import Final

import msgspec

ALPN: Final = "tmr-frames/1"
"""Name of this protocol in the TLS handshake (RFC 7301)."""
MESSAGE: Final = 0
"""A question, or the answer to it."""
PROBLEM: Final = 1
"""An answer: a problem document in JSON. What was asked is not done."""
_HEAD: Final = struct.Struct("!IIB")


class Frame(msgspec.Struct, frozen=True):
    """One message."""

    number: int
    kind: int
    body: bytes


class TooLarge(Exception):
    """A frame is larger than this side takes: the connection cannot go on."""


def encode(number: int, body: bytes, kind: int = MESSAGE) -> bytes:
    """The frame as bytes."""
    return _HEAD.pack(len(body), number, kind) + body


class Frames:
    """Makes frames of what arrives. `limit`: bytes of one body."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def within(self) -> bool:
        """A frame has begun that is not complete."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Generator[Frame]:
        """The frames that `data` completes. Raises TooLarge."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= _HEAD.size:
                length, number, kind = _HEAD.unpack_from(buffer, at)
                if length > self._limit:
                    raise TooLarge(f"a message of {length} bytes; at most {self._limit} are taken")
                start = at + _HEAD.size
                if len(buffer) - start < length:
                    break
                at = start + length
                yield Frame(number, kind, bytes(buffer[start:at]))
        finally:  # also where no more is taken for now: `feed(b"")` goes on
            del buffer[:at]
