# SPDX-License-Identifier: Apache-2.0
"""Reads a borrow file and verifies it offline, against nothing but the vendor's public key.

    licence = verify(data, vendor_key=PEM, certificate=PEM, key=PEM, now=datetime.now(UTC))
    licence.check(features=0b11, released=date_of_this_version)

No network, no files, no clock: `tmr.client.borrow_store` keeps the files and watches the clock. The format is
described in the reference, page "Borrow files".
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from tmr.api.errors import ConfigError
from tmr.client._borrower import fingerprint, prove
from tmr.client.borrow_problems import (
    BadBorrowFile,
    BeyondLicence,
    BorrowExpired,
    LacksFeature,
    NotMaintained,
    NotYetValid,
    OtherBorrower,
    Tampered,
    TooFewSignatures,
    WrongVendor,
)
from tmr.licensing import BadKey, ProductItem, public_key_from_pem
from tmr.licensing import fingerprint as key_fingerprint
from tmr.licensing.borrow_file import (
    BORROWING_TYPE,
    FILE_MAX,
    SIGNERS,
    BorrowFile,
    BorrowPayload,
    BorrowUpdate,
    UpdatePart,
    read_borrow_file,
    read_borrow_update,
    read_borrowing,
)
from tmr.licensing.dsse import Envelope
from tmr.licensing.signing import signature_holds
from tmr.licensing.spelling import TIME_MS_MAX, instant, instant_or_none, written_bits, written_time
from tmr.licensing.strict_json import IllFormed, OtherSpelling
from tmr.licensing.update import UPDATE_TYPE

__all__ = [
    "CLOCK_TOLERANCE",
    "FILE_MAX",
    "BorrowedLicence",
    "describe",
    "fingerprint",
    "prove",
    "read",
    "verify",
]

CLOCK_TOLERANCE: Final = timedelta(seconds=60)
"""Bound on how far the borrower's clock may be behind, and step back: the seat counts so much longer."""
_AGAIN: Final = "Fetch the borrow file again and copy it unchanged."
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BorrowedLicence:
    """A verified borrowing: the Product Item as issued, the borrower, and the time."""

    borrow: str
    """Id of the borrowing."""
    since: datetime
    until: datetime
    """From then on it is not valid."""
    client: str
    """Name in the borrower's certificate when it was borrowed."""
    station: str
    user: str
    borrower: str
    """SHA-256 (hexadecimal) of the SubjectPublicKeyInfo that it is bound to."""
    item: ProductItem
    """The licence with all its options, as issued."""
    container: str
    """Serial of the virtual container."""
    act_id: str
    update_id: str
    """The vendor's update that the licence comes from."""
    signers: tuple[str, ...]
    """Serials of the containers that signed."""

    @property
    def firm_code(self) -> int:
        """The vendor."""
        return self.item.firm_code

    @property
    def product_code(self) -> int:
        """The product."""
        return self.item.product_code

    @property
    def tmr_id(self) -> int | None:
        """Number that tells apart the TMR licences of a product; None: a plain licence."""
        return self.item.tmr_id

    @property
    def reference(self) -> int:
        """Product Item Reference: tells apart the plain licences of a product."""
        return self.item.reference

    @property
    def name(self) -> str:
        """Name of the licence, for people."""
        return self.item.name

    @property
    def text(self) -> str:
        """The vendor's Text."""
        return self.item.text

    @property
    def customer(self) -> str:
        """Customer Owned License Information."""
        return self.item.customer

    @property
    def user_data(self) -> bytes:
        """The vendor's User Data."""
        return self.item.user_data

    @property
    def feature_map(self) -> int:
        """Bits of the modules that the licence has."""
        return self.item.feature_map

    @property
    def quantity(self) -> int | None:
        """License Quantity; None: unlimited."""
        return self.item.quantity

    @property
    def units(self) -> int | None:
        """Units issued in all; None: no Unit Counter."""
        return self.item.units

    @property
    def expiration(self) -> datetime | None:
        """Expiration Time."""
        return instant_or_none(self.item.expiration_ms)

    @property
    def activation(self) -> datetime | None:
        """Activation Time."""
        return instant_or_none(self.item.activation_ms)

    @property
    def maintenance_start(self) -> datetime | None:
        """Start of the Maintenance Period."""
        return instant_or_none(self.item.maintenance_start_ms)

    @property
    def maintenance_end(self) -> datetime | None:
        """End of the Maintenance Period."""
        return instant_or_none(self.item.maintenance_end_ms)

    @property
    def label(self) -> str:
        """`6000010:201`, followed by `#1` for TMR-Id 1."""
        plain = f"{self.firm_code}:{self.product_code}"
        return plain if self.tmr_id is None else f"{plain} #{self.tmr_id}"

    def check_time(self, now: datetime) -> None:
        """Raise `NotYetValid` or `BorrowExpired` if it is not valid at `now` (with an offset)."""
        if now >= self.until:
            raise BorrowExpired(
                f"The borrowing of {self.label} ended at {written_time(self.until)}",
                "Connect to the licence server and borrow it again.",
            )
        if now < self.since - CLOCK_TOLERANCE:
            raise NotYetValid(
                f"The borrowing of {self.label} begins at {written_time(self.since)}; this machine's clock "
                f"shows {written_time(now)}",
                "Set the clock of this machine.",
            )

    def check(self, *, features: int = 0, released: datetime | None = None) -> None:
        """Raise `LacksFeature` or `NotMaintained` if this program may not use the licence.

        `features`: bits that the Feature Map must have. `released`: release date of this version of the
        program, with an offset; None: not checked.
        """
        missing = features & ~self.feature_map
        if missing:
            bits = written_bits(missing, ", ")
            raise LacksFeature(
                f"The Feature Map of {self.label} lacks the bits {bits}",
                "Ask the vendor for a licence with these modules.",
            )
        if released is None:
            return
        start, end = self.maintenance_start, self.maintenance_end
        if (start is not None and released < start) or (end is not None and released >= end):
            raise NotMaintained(
                f"A version released at {written_time(released)} is outside the Maintenance Period of "
                f"{self.label}, {written_time(start) if start else 'any time'} to "
                f"{written_time(end) if end else 'any time'}",
                "Use a version from within the period, or ask the vendor to extend it.",
            )


def verify(
    data: bytes,
    *,
    vendor_key: bytes | str,
    certificate: bytes,
    key: bytes,
    now: datetime,
    seen: Callable[[BorrowedLicence], None] = lambda _: None,
) -> BorrowedLicence:
    """The licence in the borrow file `data`, if all of it holds.

    `vendor_key`: the vendor's public key, PEM, as `tmr vendor init` writes it. `certificate` and `key`: the
    borrower's own, PEM; the key is made to prove that it belongs to the certificate. `now`: with an offset.
    `seen` is called once all but the time has held, so that a clock can be noted though the time is over.
    Raises the errors of `borrow_problems`, ConfigError for unusable keys.
    """
    licence = read(data, vendor_key)
    if prove(certificate, key) != licence.borrower:
        raise OtherBorrower(
            f"The borrowing {licence.borrow} is bound to the certificate that {licence.client} borrowed it "
            "with, and this is another one",
            "Use that certificate and key, or borrow the licence with the present one.",
        )
    seen(licence)
    licence.check_time(now)
    return licence


def read(data: bytes, vendor_key: bytes | str) -> BorrowedLicence:
    """The licence in the file if the signatures hold; neither borrower nor time is checked.

    For tools that show a file; a program that wants to run calls `verify`.
    """
    vendor = _vendor_key(vendor_key)
    file = _read_file(data)
    _check_vendor(file.update, vendor)
    update = _read(read_borrow_update, file.update.payload, "its update")
    signers = _signers(file.borrowing, update)
    lent = _read(read_borrowing, file.borrowing.payload, "its borrowing")
    if lent.update_digest != hashlib.sha256(file.update.payload).hexdigest():
        raise Tampered("The borrow file carries another update than the one it was signed with", _AGAIN)
    # The vendor names one container alone only for plain licences, which it serves by itself.
    needed = 1 if lent.item.tmr_id is None and len(update.parts) == 1 else SIGNERS
    if len(signers) < needed:
        raise TooFewSignatures(
            f"{len(signers)} container has signed the borrowing, {needed} different ones are needed",
            "Fetch the borrow file again.",
        )
    _check_licence(lent, update, signers)
    return _licence(lent, signers)


def describe(data: bytes) -> BorrowedLicence:
    """Contents of the file, with nothing verified: for lists. Raises BadBorrowFile, Tampered."""
    return _licence(_read(read_borrowing, _read_file(data).borrowing.payload, "its borrowing"), ())


def _read_file(data: bytes) -> BorrowFile:
    if len(data) > FILE_MAX:
        raise BadBorrowFile(f"This is no borrow file: it has {len(data)} bytes, more than {FILE_MAX}", _AGAIN)
    return _read(read_borrow_file, data, "it")


def _read(reader: Callable[[bytes], _T], data: bytes, what: str) -> _T:
    try:
        return reader(data)
    except OtherSpelling as error:
        raise Tampered(f"The borrow file was changed: {error}", _AGAIN) from None
    except IllFormed as error:
        raise BadBorrowFile(
            f"This is no borrow file that this version understands: {what}: {error}",
            "Give the file that was borrowed, unchanged; if it is, upgrade this program.",
        ) from None


def _check_vendor(envelope: Envelope, vendor: bytes) -> None:
    keyid = key_fingerprint(vendor)
    if envelope.payload_type != UPDATE_TYPE or len(envelope.signatures) != 1:
        raise Tampered("The borrow file holds no vendor's update with one signature", _AGAIN)
    (signature,) = envelope.signatures
    if signature.keyid != keyid:
        raise WrongVendor(
            f"The licence is signed with the vendor key {_shown(signature.keyid)}, not with {keyid[:16]}",
            "Use the borrow file of this vendor's licence.",
        )
    if not signature_holds(UPDATE_TYPE, envelope.payload, signature.signature, vendor):
        raise Tampered("The vendor's signature does not hold: the licence was changed", _AGAIN)


def _signers(envelope: Envelope, update: BorrowUpdate) -> tuple[UpdatePart, ...]:
    """The parts of the update whose containers signed: every signature must hold, and be another's."""
    if envelope.payload_type != BORROWING_TYPE:
        raise Tampered("The borrow file holds no borrowing", _AGAIN)
    parts = {key_fingerprint(bytes.fromhex(part.container_key)): part for part in update.parts}
    signers: dict[str, UpdatePart] = {}
    for signature in envelope.signatures:
        part = parts.get(signature.keyid)
        if part is None:
            raise TooFewSignatures(
                f"The key {_shown(signature.keyid)} that signed the borrowing is of no container that the "
                f"vendor's update {_shown(update.update_id)} names",
                "Fetch the borrow file again.",
            )
        key = bytes.fromhex(part.container_key)
        if not signature_holds(BORROWING_TYPE, envelope.payload, signature.signature, key):
            raise Tampered(f"The signature of the container {_shown(part.container)} does not hold", _AGAIN)
        signers[part.container_key] = part
    return tuple(signers.values())


def _check_licence(lent: BorrowPayload, update: BorrowUpdate, signers: tuple[UpdatePart, ...]) -> None:
    """Checks that the licence lent is the one that the vendor gave these containers, and not more."""
    item = lent.item
    named = (lent.act_id, lent.update_id, item.firm_code)
    if named != (update.act_id, update.update_id, update.firm_code):
        raise Tampered("The borrowing and the vendor's update are not of one system, update and firm", _AGAIN)
    for part in signers:
        if not part.holds(item):
            raise BeyondLicence(
                f"The vendor's update gives {_shown(part.container)} no such licence {item.firm_code}:"
                f"{item.product_code}",
                "Fetch the borrow file again; if it repeats, tell the operator.",
            )
    longest = None if item.borrow_s is None else item.borrow_s * 1000
    ends = lent.until_ms if item.expiration_ms is None else item.expiration_ms
    starts = lent.from_ms if item.activation_ms is None else item.activation_ms
    if (
        longest is None
        or lent.until_ms - lent.from_ms > longest
        or lent.until_ms > ends
        or lent.from_ms < starts
    ):
        raise BeyondLicence(
            f"The licence {item.firm_code}:{item.product_code} may not be borrowed for such a time",
            "Borrow it anew, for a time within its limits.",
        )


def _licence(lent: BorrowPayload, signers: tuple[UpdatePart, ...]) -> BorrowedLicence:
    if not all(0 <= ms <= TIME_MS_MAX for ms in (lent.from_ms, lent.until_ms)):
        raise BadBorrowFile("The borrow file holds a time that does not exist", _AGAIN)
    return BorrowedLicence(
        borrow=lent.borrow,
        since=instant(lent.from_ms),
        until=instant(lent.until_ms),
        client=lent.client,
        station=lent.station,
        user=lent.user,
        borrower=lent.borrower,
        item=lent.item,
        container=lent.container,
        act_id=lent.act_id,
        update_id=lent.update_id,
        signers=tuple(part.container for part in signers),
    )


def _vendor_key(pem: bytes | str) -> bytes:
    try:
        return public_key_from_pem(pem.encode() if isinstance(pem, str) else pem)
    except BadKey:
        raise ConfigError(
            "The vendor's key is no Ed25519 public key in PEM",
            "Give the FIRMCODE.pem that the vendor hands out.",
        ) from None


def _shown(text: str, size: int = 64) -> str:
    """At most `size` characters, in ASCII with escapes: safe for a terminal and a log."""
    return text[:size].encode("unicode_escape").decode("ascii")
