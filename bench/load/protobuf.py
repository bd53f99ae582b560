"""The few messages of etcd's gRPC interface that the load needs, written by hand.

The fields are those of etcd 3.4's rpc.proto (KV.Txn, KV.Put, KV.DeleteRange, Lease.LeaseGrant), the encoding
that of https://protobuf.dev/programming-guides/encoding/. A generated client would cost more.
"""

from __future__ import annotations


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def number(field: int, value: int) -> bytes:
    """A field of an integer type; the default, 0, is not written."""
    return _varint(field << 3) + _varint(value) if value else b""


def data(field: int, value: bytes) -> bytes:
    """A field of bytes, or of an embedded message."""
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def put(key: bytes, value: bytes, lease: int) -> bytes:
    """PutRequest."""
    return data(1, key) + data(2, value) + number(3, lease)


def delete(key: bytes) -> bytes:
    """DeleteRangeRequest of one key."""
    return data(1, key)


def create(key: bytes, value: bytes, lease: int) -> bytes:
    """TxnRequest: put `key` if it was never created (create revision 0)."""
    compare = number(2, 1) + data(3, key)  # result EQUAL (0), target CREATE (1), create_revision 0
    return data(1, compare) + data(2, data(2, put(key, value, lease)))


def lease_grant(ttl: int) -> bytes:
    """LeaseGrantRequest; the server chooses the id."""
    return number(1, ttl)


def field(message: bytes, wanted: int) -> int | bytes | None:
    """The value of a field of a message, the first one; None where it is missing."""
    at = 0
    while at < len(message):
        tag, at = _read(message, at)
        if tag & 7 == 0:
            value, at = _read(message, at)
            if tag >> 3 == wanted:
                return value
        elif tag & 7 == 2:
            size, at = _read(message, at)
            if tag >> 3 == wanted:
                return message[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {tag & 7} is not used by etcd")
    return None


def _read(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
