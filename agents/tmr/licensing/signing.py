# SPDX-License-Identifier: Apache-2.0
"""Ed25519 signatures over a type and exact bytes, by the pre-authentication encoding of DSSE.

https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, RFC 8032. A container key signs
requests and statements; because the type is signed too, neither can pass for the other.
"""

import hashlib
import re
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from tmr.licensing.errors import BadKey

PUBLIC_KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
_HEX: Final = re.compile("[0-9a-f]{64}")


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding version 1. Lengths count bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign_bytes(payload_type: str, payload: bytes, key: Ed25519PrivateKey) -> bytes:
    """The signature (64 bytes) of `key` over the type and the payload."""
    return key.sign(pae(payload_type, payload))


def signature_holds(payload_type: str, payload: bytes, signature: bytes, public_key: bytes) -> bool:
    """Tells whether `signature` is `public_key`'s (raw, 32 bytes) over the type and the payload.

    Never raises.
    """
    if len(public_key) != PUBLIC_KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, pae(payload_type, payload))
    except (InvalidSignature, ValueError):
        return False
    return True


def raw_public_key(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of the public key that belongs to `key`."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def fingerprint(public_key: bytes) -> str:
    """SHA-256 of a raw public key, 64 hexadecimal digits: the DSSE `keyid`, and how people compare keys."""
    return hashlib.sha256(public_key).hexdigest()


def public_key_to_pem(public_key: bytes) -> bytes:
    """A raw public key as PEM SubjectPublicKeyInfo (RFC 8410). Raises `BadKey`."""
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError as error:
        raise _bad("public key") from error
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_key_from_pem(pem: bytes) -> bytes:
    """The raw public key (32 bytes) in a PEM SubjectPublicKeyInfo. Raises `BadKey`."""
    try:
        key = load_pem_public_key(pem)
    except Exception as error:  # what the parser raises for hostile bytes is not documented
        raise _bad("public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _bad("public key")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def private_key_to_pem(key: Ed25519PrivateKey) -> bytes:
    """A private key as unencrypted PEM PKCS #8 (RFC 8410). For files that only their owner can read."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def private_key_from_pem(pem: bytes) -> Ed25519PrivateKey:
    """The private key in an unencrypted PEM PKCS #8. Raises `BadKey`, which never shows the key."""
    try:
        key = load_pem_private_key(pem, password=None)
    except Exception:  # what the parser raises for hostile bytes is not documented
        raise _bad("private key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _bad("private key")
    return key


def _bad(what: str) -> BadKey:
    return BadKey(
        "bad-key", f"this is no Ed25519 {what} in PEM", f"give the file that holds the Ed25519 {what}"
    )


def check_hex(what: str, value: str) -> None:
    """Raise `BadKey` unless `value` is 32 bytes in 64 small hexadecimal digits."""
    if _HEX.fullmatch(value) is None:
        raise BadKey("bad-key", f"{what}: this is not 64 hexadecimal digits", "copy it unchanged")
