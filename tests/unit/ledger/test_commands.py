# SPDX-License-Identifier: Apache-2.0
"""The kind of a command, recognised by its first bytes, however the rest is spelled."""

import msgspec
import pytest

from tmr.ledger import Consume, Free, Grant, RecordDenials, Trust, decode, encode, encoded_as

PLAIN = (Grant, Free, Consume)


def packed(*members: tuple[str, object]) -> bytes:
    """A map with these members in their order, which may repeat."""
    return bytes((0x80 | len(members),)) + b"".join(
        msgspec.msgpack.encode(part) for member in members for part in member
    )


def test_what_is_written_is_recognized() -> None:
    grant = Grant("key", "alice", "session", 6_000_010, 1, (), "user-limit", 60, "station")
    for command in (grant, Free("session", None, "expiry"), Consume("key", "alice", "session", 1)):
        assert encoded_as(encode(command), *PLAIN)
        assert encoded_as(encode(command), type(command))
    for other in (Trust("up1", bytes(32)), RecordDenials(())):
        assert not encoded_as(encode(other), *PLAIN)


def test_what_is_recognized_is_nothing_else() -> None:
    """Were the second tag believed, a twin could have an upstream trust any key behind its own back."""
    trust = ("upstream", "up1"), ("key", bytes(32))
    recognized = 0
    for more in range(11):
        body = packed(("type", "free"), ("type", "trust"), *trust, *[("more", 0)] * more)
        recognized += encoded_as(body, *PLAIN)
        with pytest.raises(msgspec.DecodeError):
            decode(body)
    assert recognized


def test_another_order_is_looked_at() -> None:
    body = packed(("session", "s"), ("client", None), ("by", "expiry"), ("who", ""), ("type", "free"))
    assert decode(body) == Free("s", None, "expiry")
    assert not encoded_as(body, *PLAIN)
