# SPDX-License-Identifier: Apache-2.0
"""The digest of the ledger's state: a multiset hash that is kept up to date with each change.

It is the sum, modulo 2¹²⁸, of a BLAKE2b hash of every record of the state and of its kind. A record that is
added adds its hash, one that is removed subtracts it. The hash is computed anew from the record that is
removed: if memory changed it meanwhile, the digest is another from then on, and for ever. `snapshot_digest`
has the same value for a snapshot. No words for people are part of it: those of outcomes are left out, and
lines of the record have none that a version made.
"""

import hashlib
from typing import Any, Final

import msgspec

_SIZE: Final = 16
_MODULUS: Final = 2 ** (8 * _SIZE)
_encoder: Final = msgspec.msgpack.Encoder(order="sorted")
_plain: Final = msgspec.msgpack.Encoder()


class DamagedState(ValueError):
    """Records of the state are not those that its digest was computed from: memory or disk changed them."""


class StateDigest:
    """The digest while the state changes. `kind` tells records of one type from equal ones of another."""

    __slots__ = ("_singles", "_sum")

    def __init__(self) -> None:
        self._sum = 0
        self._singles: dict[bytes, int] = {}

    def add(self, kind: bytes, record: Any) -> None:
        """The state has one more record."""
        self._sum += _number(kind, record)

    def remove(self, kind: bytes, record: Any) -> None:
        """The state has one record less."""
        self._sum -= _number(kind, record)

    def replace(self, kind: bytes, record: Any) -> None:
        """The record that is the only one of its kind is this one now."""
        number = _number(kind, record, _encoder)
        self._sum += number - self._singles.get(kind, 0)
        self._singles[kind] = number

    def value(self, *numbers: int) -> bytes:
        """The digest, with the numbers that change most."""
        total = self._sum + _number(b"numbers", numbers)
        return (total % _MODULUS).to_bytes(_SIZE, "big")


def _number(kind: bytes, record: Any, encoder: msgspec.msgpack.Encoder = _plain) -> int:
    data = kind + encoder.encode(record)
    return int.from_bytes(hashlib.blake2b(data, digest_size=_SIZE).digest(), "big")
