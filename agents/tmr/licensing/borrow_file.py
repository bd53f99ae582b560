# SPDX-License-Identifier: Apache-2.0
"""Borrow files: a seat taken along, which a program verifies offline with nothing but the vendor's key.

The chain of trust, from the end: two containers sign the same borrowing; a vendor's update, carried along,
names these containers with their keys and states the licence; the vendor's key signs the update. No server
key appears in it, so neither a twin nor a single upstream can make one.

Every upstream builds the payload from its own state alone, without a clock, and all build the same bytes.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.api.deployment import NETWORK, TMR
from tmr.licensing.container import Container
from tmr.licensing.dsse import (
    ENVELOPE_MAX,
    Envelope,
    Signature,
    WireEnvelope,
    decode_envelope,
    write_envelope,
)
from tmr.licensing.errors import BadBorrowSignature, BadKey, NotSigned, UpdateRefused
from tmr.licensing.items import ProductItem
from tmr.licensing.serial import virtual_serial
from tmr.licensing.signing import fingerprint, raw_public_key, sign_bytes, signature_holds
from tmr.licensing.strict_json import IllFormed, OtherSpelling, read_json
from tmr.licensing.update import read_update, read_update_envelope

BORROWING_TYPE: Final = "application/vnd.tmr.borrowing+json"
"""Type of the signed payload."""
MEDIA_TYPE: Final = "application/vnd.tmr.borrow-file+json"
"""Type of the whole file."""
FORMAT: Final[Literal[1]] = 1
PAYLOAD_MAX: Final = 16_384
"""Bytes in the payload: one Product Item and a few names."""
FILE_MAX: Final = ENVELOPE_MAX + 2 * PAYLOAD_MAX
"""Bytes in a borrow file."""
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}", re.ASCII)
SIGNERS: Final = TMR.majority
"""Different containers that sign a borrow file: a majority of the three. A plain licence, whose update names
one container alone, needs this one."""


class BorrowTerms(msgspec.Struct, frozen=True):
    """Terms of one borrowing by the ledger, and the licence that it takes a seat of.

    `borrower`: SHA-256 (64 hexadecimal digits) of the SubjectPublicKeyInfo in the borrower's certificate.
    Times are Unix milliseconds; `until_ms` is no part of the borrowing any more.
    """

    borrow: str
    client: str
    borrower: str
    station: str
    user: str
    from_ms: int
    until_ms: int
    item: ProductItem


class BorrowPayload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload: the terms, the system, and the update that the licence comes from.

    `container`: serial of the container that clients see: the virtual one, or that of a network licence
    server. `update_digest`: SHA-256 (hexadecimal) of the update's payload, so that no other update of the
    vendor can take its place.
    """

    format: Literal[1]
    borrow: str
    act_id: str
    container: str
    client: str
    borrower: str
    station: str
    user: str
    from_ms: int
    until_ms: int
    update_id: str
    update_digest: str
    item: ProductItem


class BorrowSignature(msgspec.Struct, frozen=True):
    """One container's share: the payload, its signature, its public key (raw, 32 bytes), the update file."""

    payload: bytes
    signature: bytes
    key: bytes
    update: bytes


class CheckedSignature(msgspec.Struct, frozen=True):
    """Contents of a signature's payload, and how many different containers have to sign it."""

    lent: BorrowPayload
    signers: int


class _Named(msgspec.Struct, frozen=True):
    """System, container and firm that an update names."""

    update_id: str
    keys: tuple[bytes, ...]
    digest: str
    signatures: int


class _File(msgspec.Struct):
    format: int
    borrowing: msgspec.Raw
    update: msgspec.Raw


class _WireFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal[1]
    borrowing: WireEnvelope
    update: WireEnvelope


class BorrowFile(msgspec.Struct, frozen=True):
    """A borrow file whose signatures are not verified yet: the borrowing, and the update of its vendor."""

    borrowing: Envelope
    update: Envelope


class UpdatePart(msgspec.Struct, frozen=True):
    """Part of an update, as far as a borrower needs it. Items may have options that are not known here."""

    container: str
    container_key: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    items: tuple[dict[str, Any], ...]

    def holds(self, item: ProductItem) -> bool:
        """Tells whether the vendor gave the container this very item."""
        for given in self.items:
            try:
                if msgspec.convert(given, ProductItem) == item:
                    return True
            except ValueError:
                continue  # another licence, of a kind that this version does not know
        return False


class BorrowUpdate(msgspec.Struct, frozen=True):
    """An update, as far as a borrower needs it: what its vendor signed may hold more."""

    format: Literal[1]
    firm_code: int
    act_id: str
    update_id: str
    parts: tuple[UpdatePart, ...]


def share(terms: BorrowTerms, container: Container, key: Ed25519PrivateKey) -> BorrowSignature:
    """Signature that the container contributes to the borrow file.

    Equal terms and updates give equal payloads.

    Raises `NotSigned`: `no-update`, `item-differs`; `BadKey` if `key` is not the container's.
    """
    if raw_public_key(key) != container.key:
        raise BadKey(
            "bad-key",
            f"the private key at hand is not that of the container {container.serial}",
            "restore key and container from the same backup",
        )
    firm = container.firm(terms.item.firm_code)
    if firm is None or not firm.update:
        raise NotSigned(
            "no-update",
            f"the container {container.serial} has kept no update of the firm {terms.item.firm_code}",
            "activate a new update of the vendor (`tmr vendor reissue`) on every upstream",
        )
    if terms.item not in container.items:
        raise NotSigned(
            "item-differs",
            f"the container {container.serial} does not hold the {terms.item.key} that is lent",
            "activate the vendor's latest update on every upstream",
        )
    lent = BorrowPayload(
        format=FORMAT,
        borrow=terms.borrow,
        act_id=container.act_id,
        container=container.serial if terms.item.tmr_id is None else str(virtual_serial(container.act_id)),
        client=terms.client,
        borrower=terms.borrower,
        station=terms.station,
        user=terms.user,
        from_ms=terms.from_ms,
        until_ms=terms.until_ms,
        update_id=firm.update_id,
        update_digest=_digest(firm.update),
        item=terms.item,
    )
    payload = msgspec.json.encode(lent)
    return BorrowSignature(payload, sign_bytes(BORROWING_TYPE, payload, key), container.key, firm.update)


def check_share(given: BorrowSignature) -> CheckedSignature:
    """Checks that the parts of the signature belong together and returns the loan; the vendor's signature
    is not checked.

    Raises `BadBorrowSignature`: `ill-formed`, `tampered`, `other-update`.
    """
    if not signature_holds(BORROWING_TYPE, given.payload, given.signature, given.key):
        raise BadBorrowSignature(
            "tampered",
            "the container's signature of the borrowing does not hold",
            "ask again; if it repeats, look who is between",
        )
    try:
        lent = read_json(given.payload, BorrowPayload, PAYLOAD_MAX)
        update = _named(given.update)
    except (IllFormed, UpdateRefused) as error:
        raise BadBorrowSignature(
            "ill-formed",
            f"the share of the borrow file is not understood: {error}",
            "upgrade the older of the two machines",
        ) from None
    if lent.update_digest != update.digest or update.signatures != 1 or given.key not in update.keys:
        raise BadBorrowSignature(
            "other-update",
            f"the update {update.update_id} that comes with the borrowing does not name its signer",
            "activate the vendor's latest update on every upstream",
        )
    plain = lent.item.tmr_id is None and len(update.keys) == NETWORK.replicas
    return CheckedSignature(lent, (NETWORK if plain else TMR).majority)


def seal_borrow_file(shares: Sequence[BorrowSignature]) -> bytes:
    """The borrow file of as many checked shares as it needs, of different containers and with one payload.

    It has one spelling: JSON without spaces, the fields in this order. Raises ValueError for other shares.
    """
    if not shares:
        raise ValueError("a borrow file has signatures")
    first = shares[0]
    needed = check_share(first).signers
    if len({one.key for one in shares}) != needed or len(shares) != needed:
        raise ValueError(f"this borrow file has the signatures of {needed} different containers")
    if any(one.payload != first.payload for one in shares):
        raise ValueError("the shares of a borrow file have one payload")
    signatures = tuple(
        Signature(fingerprint(one.key), one.signature) for one in sorted(shares, key=lambda one: one.key)
    )
    borrowing = Envelope(BORROWING_TYPE, first.payload, signatures)
    update = write_envelope(read_update_envelope(first.update))
    return msgspec.json.encode(_File(FORMAT, msgspec.Raw(write_envelope(borrowing)), msgspec.Raw(update)))


def read_borrow_file(data: bytes) -> BorrowFile:
    """The borrow file in these bytes, not verified yet. Raises `IllFormed`, `OtherSpelling`."""
    wire = read_json(data, _WireFile, FILE_MAX)
    try:
        spelt = msgspec.json.encode(wire)
    except ValueError:  # text that UTF-8 has no bytes for
        spelt = b""
    if spelt != data:
        raise OtherSpelling("it is not spelt as the server wrote it")
    return BorrowFile(decode_envelope(wire.borrowing), decode_envelope(wire.update))


def read_borrowing(payload: bytes) -> BorrowPayload:
    """The payload of a borrowing. Raises `IllFormed`."""
    lent = read_json(payload, BorrowPayload, PAYLOAD_MAX)
    if _ID.fullmatch(lent.borrow) is None:
        raise IllFormed("the id of the borrowing, borrow, is none: a file could not be named after it")
    return lent


def read_borrow_update(payload: bytes) -> BorrowUpdate:
    """The update in a borrow file, as far as a borrower needs it. Raises `IllFormed`."""
    return read_json(payload, BorrowUpdate, ENVELOPE_MAX)


# Both are asked for the same few updates again and again, and one may have megabytes.


@lru_cache(maxsize=8)
def _digest(update_file: bytes) -> str:
    return hashlib.sha256(read_update_envelope(update_file).payload).hexdigest()


@lru_cache(maxsize=8)
def _named(update_file: bytes) -> _Named:
    envelope = read_update_envelope(update_file)
    update = read_update(envelope.payload)
    keys = tuple(bytes.fromhex(part.container_key) for part in update.parts)
    return _Named(update.update_id, keys, _digest(update_file), len(envelope.signatures))
