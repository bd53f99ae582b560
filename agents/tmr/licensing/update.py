# SPDX-License-Identifier: Apache-2.0
"""Update files: what a vendor sends to the three containers of one TMR system, signed as one.

An update with one part is for a network licence server, whose one container holds plain licences.

A part states *all* Product Items of the firm: they replace what the container held of that firm. So a
container that is new, or that lost its disk, ends with the same items as the others after one update,
whatever it held before.
"""

from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.api.deployment import NETWORK, TMR, Deployment
from tmr.licensing.checks import check_range
from tmr.licensing.dsse import ENVELOPE_MAX, Envelope, read_envelope, seal
from tmr.licensing.errors import BadItem, UpdateRefused
from tmr.licensing.items import FIRM_CODE_MIN, ProductItem, check_kind, ordered
from tmr.licensing.options import CODE_MAX, EXPIRATION_MS_MAX
from tmr.licensing.serial import Serial, SerialUse
from tmr.licensing.signing import check_hex, fingerprint
from tmr.licensing.statement import COUNT_MAX, check_name
from tmr.licensing.strict_json import IllFormed, read_json

UPDATE_TYPE: Final = "application/vnd.tmr.update+json"
FORMAT: Final = 1
PARTS: Final = TMR.replicas
"""Containers of a TMR system."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """New state of one container.

    `container_key`: its public key, 64 hexadecimal digits. `counter`: the container's update counter after
    this update. `items`: all of the firm's items, kept sorted by key. Raises `BadItem` or `BadSerial`.
    """

    container: str
    container_key: str
    counter: int
    items: tuple[ProductItem, ...]

    def __post_init__(self) -> None:
        Serial.parse(self.container).check(SerialUse.LICENCE_FILE)
        check_hex("container key", self.container_key)
        check_range("update counter", self.counter, 1, COUNT_MAX)
        msgspec.structs.force_setattr(self, "items", ordered(self.items))


class Update(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One update of one firm for the three containers of one system, or for that of a network licence server.

    Three parts hold licences with TMR-Id alone, one part holds plain ones: a constituent is worth nothing by
    itself, and three plain licences would be three times the licence.
    `issued_ms`: Unix time in milliseconds, for people. `update_id`: names this update. Raises `BadItem`.
    """

    format: int
    firm_code: int
    act_id: str
    issued_ms: int
    update_id: str
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        check_range("format of the update", self.format, FORMAT, FORMAT)
        check_range("Firm Code", self.firm_code, FIRM_CODE_MIN, CODE_MAX)
        check_name("CmActId", self.act_id)
        check_range("time of issue (ms)", self.issued_ms, 0, EXPIRATION_MS_MAX)
        check_name("update id", self.update_id)
        check_range("number of parts", len(self.parts), self.deployment.replicas, self.deployment.replicas)
        for what in ({part.container for part in self.parts}, {part.container_key for part in self.parts}):
            if len(what) != len(self.parts):
                raise BadItem(
                    "out-of-range", "two parts are for the same container", "give each container one"
                )
        for part in self.parts:
            for item in part.items:
                if item.firm_code != self.firm_code:
                    raise BadItem(
                        "out-of-range",
                        f"the Product Item {item.key} is not of the firm {self.firm_code}",
                        "issue each firm's items in an update of their own",
                    )
            check_kind(part.items, self.deployment)

    @property
    def deployment(self) -> Deployment:
        """The kind of system that it is for: one part is for a network licence server."""
        return NETWORK if len(self.parts) == NETWORK.replicas else TMR

    @property
    def identical(self) -> bool:
        """Tells whether all parts state the same items."""
        return all(part.items == self.parts[0].items for part in self.parts)


def seal_update(update: Update, key: Ed25519PrivateKey) -> bytes:
    """The update file: a DSSE envelope signed with the vendor's key."""
    return seal(UPDATE_TYPE, msgspec.json.encode(update), key)


def read_update_envelope(data: bytes) -> Envelope:
    """The envelope of an update file, not verified yet. Raises `UpdateRefused`."""
    try:
        envelope = read_envelope(data)
    except IllFormed as error:
        raise _ill_formed(str(error)) from None
    if envelope.payload_type != UPDATE_TYPE:
        raise _ill_formed("its type is not that of an update")
    return envelope


def open_update(data: bytes, vendor_public_key: bytes) -> Update:
    """The update in an update file, if this vendor key (raw, 32 bytes) signed it.

    Raises `UpdateRefused`: `ill-formed`, `unknown-vendor`, `tampered`, `parts-differ`. Nothing of the
    payload is read before its signature holds.
    """
    envelope = read_update_envelope(data)
    signed = envelope.signed_by(vendor_public_key)
    if signed is None:
        raise UpdateRefused(
            "unknown-vendor",
            f"the update is not signed with the vendor key {fingerprint(vendor_public_key)[:16]}",
            "get the update from the vendor of this firm, or the vendor's public key from the vendor",
        )
    if not signed:
        raise tampered()
    return read_update(envelope.payload)


def read_update(payload: bytes) -> Update:
    """The update that a payload spells; the caller has verified who signed it. Raises `UpdateRefused`."""
    try:
        update = read_json(payload, Update, ENVELOPE_MAX)
    except IllFormed as error:
        raise _ill_formed(str(error)) from None
    if not update.identical:
        raise UpdateRefused(
            "parts-differ",
            f"the three parts of the update {update.update_id} state different Product Items",
            "ask the vendor for an update with three identical parts",
        )
    return update


def tampered() -> UpdateRefused:
    """The refusal of an update whose signature does not hold."""
    return UpdateRefused(
        "tampered",
        "the signature of the update does not hold: the file was changed after the vendor signed it",
        "get the file from the vendor again and copy it unchanged",
    )


def _ill_formed(why: str) -> UpdateRefused:
    return UpdateRefused(
        "ill-formed",
        f"this is no update file: {why}",
        "get the file from the vendor again and copy it unchanged",
    )
