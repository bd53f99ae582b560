# SPDX-License-Identifier: Apache-2.0
"""Request files: what a container tells a vendor, so that the vendor can issue an update for it."""

from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.licensing.checks import check_range
from tmr.licensing.dsse import Envelope, read_envelope, seal
from tmr.licensing.errors import BadRequest
from tmr.licensing.items import FIRM_CODE_MIN
from tmr.licensing.options import CODE_MAX
from tmr.licensing.serial import Serial, SerialUse, container_serial
from tmr.licensing.signing import check_hex
from tmr.licensing.statement import COUNT_MAX, check_name
from tmr.licensing.strict_json import IllFormed, read_json

REQUEST_TYPE: Final = "application/vnd.tmr.request+json"
REQUEST_MAX: Final = 4096
"""Bytes in the payload of a request."""
FORMAT: Final = 1


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One container's request to one firm.

    `counter`: updates of this firm activated so far. `container_key`: the container's public key,
    `vendor_key`: the vendor key pinned for this firm or `None` before the first update, both 64 hexadecimal
    digits. `items_digest`: `digest` of the firm's items in the container. Raises `BadItem` or `BadSerial`.
    """

    format: int
    container: str
    act_id: str
    firm_code: int
    counter: int
    container_key: str
    vendor_key: str | None
    items_digest: str

    def __post_init__(self) -> None:
        check_range("format of the request", self.format, FORMAT, FORMAT)
        Serial.parse(self.container).check(SerialUse.LICENCE_FILE)
        check_name("CmActId", self.act_id)
        check_range("Firm Code", self.firm_code, FIRM_CODE_MIN, CODE_MAX)
        check_range("update counter", self.counter, 0, COUNT_MAX)
        check_hex("container key", self.container_key)
        check_hex("items digest", self.items_digest)
        if self.vendor_key is not None:
            check_hex("vendor key", self.vendor_key)


def seal_request(request: Request, key: Ed25519PrivateKey) -> bytes:
    """The request file: a DSSE envelope signed with the container's key."""
    return seal(REQUEST_TYPE, msgspec.json.encode(request), key)


def open_request(data: bytes) -> Request:
    """The request in a request file, signed by the very container that it names. Raises `BadRequest`.

    A serial is derived from the container's key, so nobody else can sign for it.
    """
    try:
        return _checked(read_envelope(data))
    except IllFormed as error:
        raise BadRequest(
            "ill-formed",
            f"this is no request file: {error}",
            "make it anew on the upstream and copy it unchanged",
        ) from None


def _checked(envelope: Envelope) -> Request:
    if envelope.payload_type != REQUEST_TYPE:
        raise IllFormed("its type is not that of a request")
    request = read_json(envelope.payload, Request, REQUEST_MAX)
    key = bytes.fromhex(request.container_key)
    signed = envelope.signed_by(key)
    if signed is None or str(container_serial(key)) != request.container:
        raise BadRequest(
            "foreign-signature",
            f"the request of {request.container} is not signed by this container",
            "take the request file that the upstream itself made",
        )
    if not signed:
        raise BadRequest(
            "tampered",
            f"the signature of the request of {request.container} does not hold: the file was changed",
            "make it anew on the upstream and copy it unchanged",
        )
    return request
