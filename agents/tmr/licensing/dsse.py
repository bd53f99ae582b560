# SPDX-License-Identifier: Apache-2.0
"""DSSE envelopes: exact payload bytes, their type, and signatures over both.

https://github.com/secure-systems-lab/dsse (protocol.md, envelope.md). What is written is plain DSSE, which
any verifier reads. What is read is narrower than the standard, so that a file has one spelling (the space
between JSON's tokens aside): exactly the fields below, `keyid` always there, the standard alphabet of Base64
in its canonical form.
"""

import base64
import binascii
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.licensing.signing import fingerprint, raw_public_key, sign_bytes, signature_holds
from tmr.licensing.strict_json import IllFormed, OtherSpelling, read_json

ENVELOPE_MAX: Final = 8 * 2**20
"""Bytes in one licence file."""
SIGNATURES_MAX: Final = 8


class Signature(msgspec.Struct, frozen=True):
    """One signature. `keyid`: fingerprint of the signer's key; it narrows the search and proves nothing."""

    keyid: str
    signature: bytes


class Envelope(msgspec.Struct, frozen=True):
    """An envelope whose signatures are not verified yet."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def signed_by(self, public_key: bytes) -> bool | None:
        """Tells whether `public_key` (raw, 32 bytes) signed type and payload; `None`: no signature names
        it.
        """
        keyid = fingerprint(public_key)
        own = [s.signature for s in self.signatures if s.keyid == keyid]
        if not own:
            return None
        return any(signature_holds(self.payload_type, self.payload, s, public_key) for s in own)

    def only(self, public_key: bytes) -> "Envelope":
        """The same with the one signature of `public_key` that holds. Raises `IllFormed` if none does."""
        keyid = fingerprint(public_key)
        for one in self.signatures:
            if one.keyid == keyid and signature_holds(
                self.payload_type, self.payload, one.signature, public_key
            ):
                return Envelope(self.payload_type, self.payload, (one,))
        raise IllFormed(f"no signature of the key {keyid[:16]} holds")


class WireSignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signature as JSON spells it."""

    keyid: str
    sig: str


class WireEnvelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Envelope as JSON spells it."""

    payload: str
    payloadType: str
    signatures: list[WireSignature]


def seal(payload_type: str, payload: bytes, *keys: Ed25519PrivateKey) -> bytes:
    """The envelope, as JSON without spaces, with one signature of each key."""
    signatures = (
        Signature(fingerprint(raw_public_key(key)), sign_bytes(payload_type, payload, key)) for key in keys
    )
    return write_envelope(Envelope(payload_type, payload, tuple(signatures)))


def write_envelope(envelope: Envelope) -> bytes:
    """The envelope, as JSON without spaces: the one spelling of these bytes and signatures."""
    wire = WireEnvelope(
        base64.b64encode(envelope.payload).decode(),
        envelope.payload_type,
        [WireSignature(s.keyid, base64.b64encode(s.signature).decode()) for s in envelope.signatures],
    )
    return msgspec.json.encode(wire)


def read_envelope(data: bytes) -> Envelope:
    """The envelope in these bytes, not verified yet. Raises `IllFormed`."""
    wire = read_json(data, WireEnvelope, ENVELOPE_MAX)
    if not 1 <= len(wire.signatures) <= SIGNATURES_MAX:
        raise IllFormed(f"it has {len(wire.signatures)} signatures, not 1 to {SIGNATURES_MAX}")
    return decode_envelope(wire)


def decode_envelope(wire: WireEnvelope) -> Envelope:
    """The envelope that JSON spells, however many signatures it has. Raises `OtherSpelling`."""
    return Envelope(
        wire.payloadType,
        _bytes("payload", wire.payload),
        tuple(Signature(s.keyid, _bytes("sig", s.sig)) for s in wire.signatures),
    )


def _bytes(field: str, text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise OtherSpelling(f"the field {field} is no Base64") from None
    if base64.b64encode(data).decode() != text:
        raise OtherSpelling(f"the field {field} is Base64, but not in its canonical spelling")
    return data
