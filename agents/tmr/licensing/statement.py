# SPDX-License-Identifier: Apache-2.0
"""The statement of an upstream about its container, signed with the container's key.

A twin, and each upstream that replays the journal, believes a container only by its statement.
"""

import re
from functools import lru_cache
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.licensing.errors import BadItem, BadStatement
from tmr.licensing.items import ProductItem, ordered, packed
from tmr.licensing.serial import Serial, SerialUse
from tmr.licensing.signing import raw_public_key, sign_bytes, signature_holds

STATEMENT_TYPE: Final = "application/vnd.tmr.statement+msgpack"
COUNT_MAX: Final = 2**53 - 1
"""Largest generation and update counter: every JSON reader keeps it exact."""
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", re.ASCII)


def check_name(what: str, value: str) -> None:
    """Raise `BadItem` unless `value` is a name: 1 to 64 of `A-Z a-z 0-9 . _ -`, ends alphanumeric."""
    if type(value) is not str or _NAME.fullmatch(value) is None:
        raise BadItem(
            "out-of-range",
            f"{what}: {str(value)[:70]!r} is no name",
            "use 1 to 64 letters, digits, dots, hyphens or underscores, a letter or digit first and last",
        )


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One container as its upstream sees it.

    `container`: its serial. `generation`: rises with every change of the container. `items` are kept sorted
    by key, so equal contents are equal statements. Raises `BadItem` or `BadSerial`.
    """

    upstream: str
    container: str
    act_id: str
    generation: int
    items: tuple[ProductItem, ...] = ()

    def __post_init__(self) -> None:
        check_name("upstream", self.upstream)
        check_name("CmActId", self.act_id)
        Serial.parse(self.container).check(SerialUse.LICENCE_FILE)
        if type(self.generation) is not int or not 0 <= self.generation <= COUNT_MAX:
            raise BadItem("out-of-range", "the generation of a statement is no count", "start it at 0")
        msgspec.structs.force_setattr(self, "items", ordered(self.items))


class SignedStatement(msgspec.Struct, frozen=True):
    """A statement as it travels: exact bytes (MessagePack), Ed25519 signature, raw public key (32 bytes)."""

    payload: bytes
    signature: bytes
    key: bytes


def sign(statement: Statement, private_key: Ed25519PrivateKey) -> SignedStatement:
    """The statement signed with the container's key."""
    payload = packed(statement)
    return SignedStatement(
        payload, sign_bytes(STATEMENT_TYPE, payload, private_key), raw_public_key(private_key)
    )


def open_statement(signed: SignedStatement, trusted_key: bytes) -> Statement:
    """The statement inside, if `trusted_key` (raw, 32 bytes) signed it; else `BadStatement`.

    Answers are remembered: the replay of a journal asks for the same statement again and again.
    """
    if signed.key != trusted_key:
        raise BadStatement(
            "unknown-key",
            "the statement is signed with another key than the container's",
            "check which container this upstream serves; a replaced container must be made known first",
        )
    return _open(signed.payload, signed.signature, trusted_key)


@lru_cache(maxsize=256)
def _open(payload: bytes, signature: bytes, key: bytes) -> Statement:
    if not signature_holds(STATEMENT_TYPE, payload, signature, key):
        raise BadStatement(
            "tampered",
            "the signature of the statement does not hold: its bytes were changed",
            "ask the upstream again; if it repeats, look who is between",
        )
    try:
        return msgspec.msgpack.decode(payload, type=Statement)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadStatement(
            "ill-formed",
            f"the statement is signed but not understood: {error}",
            "upgrade the older of the two machines",
        ) from error
