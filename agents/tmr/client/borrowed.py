"""Reads a borrow file and verifies it offline, against nothing but the vendor's public key.

    licence = verify(data, vendor_key=PEM, certificate=PEM, key=PEM, now=datetime.now(UTC))
    licence.check(features=0b11, released=date_of_this_version)

No network, no files, no clock: `tmr.client.borrow_store` keeps the files and watches the clock. The format is
described in the reference, page "Borrow files".
"""

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NoReturn, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tmr.api.errors import ConfigError
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

BORROWING_TYPE: Final = "application/vnd.tmr.borrowing+json"
UPDATE_TYPE: Final = "application/vnd.tmr.update+json"
FILE_MAX: Final = 8 * 2**20 + 32_768
"""Bytes in a borrow file."""
SIGNERS: Final = 2
"""Different containers of the vendor's update that must sign a TMR licence."""
CLOCK_TOLERANCE: Final = timedelta(seconds=60)
"""Bound on how far the borrower's clock may be behind, and step back: the servers count the seat so much
longer.
"""
_DIGITS_MAX: Final = 20
_AGAIN: Final = "Fetch the borrow file again and copy it unchanged."


# -- what is in the file -------------------------------------------------------------------------------------


class _Exact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Signature(_Exact):
    keyid: str
    sig: str


class _Envelope(_Exact):
    payload: str
    payloadType: str
    signatures: list[_Signature]


class _File(_Exact):
    format: Literal[1]
    borrowing: _Envelope
    update: _Envelope


class _Item(_Exact):
    """As `tmr.licensing.ProductItem`. An option that is not known here is refused: it may forbid the use."""

    firm_code: int
    product_code: int
    tmr_id: int | None
    quantity: int | None
    expiration_ms: int | None
    name: str = ""
    reference: int = 0
    units: int | None = None
    activation_ms: int | None = None
    usage_s: int | None = None
    maintenance_start_ms: int | None = None
    maintenance_end_ms: int | None = None
    emergency: bool = False
    borrow_s: int | None = None
    borrow_seats: int | None = None
    feature_map: int = 0
    text: str = ""
    customer: str = ""
    user_data: str = ""


class _Lent(_Exact):
    format: Literal[1]
    borrow: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$")
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
    item: _Item


class _Signed(BaseModel):
    """Of an update: what its vendor signed may hold more than matters here."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Part(_Signed):
    container: str
    container_key: str = Field(pattern=r"^[0-9a-f]{64}$")
    items: list[dict[str, Any]]


class _Update(_Signed):
    format: Literal[1]
    firm_code: int
    act_id: str
    update_id: str
    parts: list[_Part]


# -- what it means -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BorrowedLicence:
    """A verified borrowing: the Product Item as issued, and for whom and how long it is lent."""

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
    firm_code: int
    product_code: int
    tmr_id: int | None
    reference: int
    name: str
    text: str
    customer: str
    user_data: bytes
    feature_map: int
    quantity: int | None
    units: int | None
    expiration: datetime | None
    activation: datetime | None
    maintenance_start: datetime | None
    maintenance_end: datetime | None
    container: str
    """Serial of the virtual container."""
    act_id: str
    update_id: str
    """The vendor's update that the licence comes from."""
    signers: tuple[str, ...]
    """Serials of the containers that signed."""

    @property
    def label(self) -> str:
        """`6000010:201`, followed by `#1` for TMR-Id 1."""
        plain = f"{self.firm_code}:{self.product_code}"
        return plain if self.tmr_id is None else f"{plain} #{self.tmr_id}"

    def check_time(self, now: datetime) -> None:
        """Raise `NotYetValid` or `BorrowExpired` if it is not valid at `now` (with an offset)."""
        if now >= self.until:
            raise BorrowExpired(
                f"The borrowing of {self.label} ended at {_written(self.until)}",
                "Connect to the licence server and borrow it again.",
            )
        if now < self.since - CLOCK_TOLERANCE:
            raise NotYetValid(
                f"The borrowing of {self.label} begins at {_written(self.since)}; this machine's clock shows "
                f"{_written(now)}",
                "Set the clock of this machine.",
            )

    def check(self, *, features: int = 0, released: datetime | None = None) -> None:
        """Raise `LacksFeature` or `NotMaintained` if this program may not use the licence.

        `features`: bits that the Feature Map must have. `released`: release date of this version of the
        program, with an offset; None: not checked.
        """
        missing = features & ~self.feature_map
        if missing:
            bits = ", ".join(str(bit) for bit in range(missing.bit_length()) if missing >> bit & 1)
            raise LacksFeature(
                f"The Feature Map of {self.label} lacks the bits {bits}",
                "Ask the vendor for a licence with these modules.",
            )
        if released is None:
            return
        start, end = self.maintenance_start, self.maintenance_end
        if (start is not None and released < start) or (end is not None and released >= end):
            raise NotMaintained(
                f"A version released at {_written(released)} is outside the Maintenance Period of "
                f"{self.label}, {_written(start) if start else 'any time'} to "
                f"{_written(end) if end else 'any time'}",
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
    """The licence in the file if the signatures hold, whoever the borrower is and whatever the time.

    For tools that show a file; a program that wants to run calls `verify`.
    """
    vendor = _vendor_key(vendor_key)
    file = _read_file(data)
    update_payload = _base64(file.update.payload)
    _check_vendor(file.update, update_payload, vendor)
    update = _model(update_payload, _Update, "its update")
    payload = _base64(file.borrowing.payload)
    signers = _signers(file.borrowing, payload, update)
    lent = _model(payload, _Lent, "its borrowing")
    if lent.update_digest != hashlib.sha256(update_payload).hexdigest():
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


def prove(certificate: bytes, key: bytes) -> str:
    """The fingerprint of the certificate, if the private key belongs to it: the key signs a random challenge.

    Both PEM. Raises ConfigError if they cannot be used, `OtherBorrower` if they do not belong together.
    """
    public = _certificate(certificate).public_key()
    try:
        private = load_pem_private_key(key, password=None)
    except Exception:  # what the parser raises for hostile bytes is not documented; it may show the key
        raise ConfigError(
            "This is no unencrypted private key in PEM", "Give the client's key file."
        ) from None
    challenge = secrets.token_bytes(32)
    try:
        if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(public, ec.EllipticCurvePublicKey):
            signature = private.sign(challenge, ec.ECDSA(hashes.SHA256()))
            public.verify(signature, challenge, ec.ECDSA(hashes.SHA256()))
        elif isinstance(private, rsa.RSAPrivateKey) and isinstance(public, rsa.RSAPublicKey):
            signature = private.sign(challenge, padding.PKCS1v15(), hashes.SHA256())
            public.verify(signature, challenge, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(private, ed25519.Ed25519PrivateKey) and isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(private.sign(challenge), challenge)
        else:
            raise InvalidSignature
    except (InvalidSignature, ValueError):
        raise OtherBorrower(
            "The private key at hand does not belong to the certificate",
            "Give the two files that were made together.",
        ) from None
    return fingerprint(certificate)


def fingerprint(certificate: bytes) -> str:
    """Fingerprint that a borrowing is bound to: SHA-256 (hexadecimal) of the certificate's
    SubjectPublicKeyInfo in DER.

    `certificate`: PEM. A renewed certificate with the same key has the same. Raises ConfigError.
    """
    public = _certificate(certificate).public_key()
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def describe(data: bytes) -> BorrowedLicence:
    """Contents of the file, with nothing verified: for lists. Raises BadBorrowFile, Tampered."""
    file = _read_file(data)
    return _licence(_model(_base64(file.borrowing.payload), _Lent, "its borrowing"), ())


# -- the checks ----------------------------------------------------------------------------------------------

_M = TypeVar("_M", bound=BaseModel)


def _read_file(data: bytes) -> _File:
    if len(data) > FILE_MAX:
        raise BadBorrowFile(f"This is no borrow file: it has {len(data)} bytes, more than {FILE_MAX}", _AGAIN)
    file = _model(data, _File, "it")
    # One spelling: whoever changes as much as a space has changed the file.
    if json.dumps(file.model_dump(), separators=(",", ":")).encode() != data:
        raise Tampered("The borrow file is not spelt as the server wrote it", _AGAIN)
    return file


def _check_vendor(envelope: _Envelope, payload: bytes, vendor: ed25519.Ed25519PublicKey) -> None:
    keyid = hashlib.sha256(vendor.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()
    if envelope.payloadType != UPDATE_TYPE or len(envelope.signatures) != 1:
        raise Tampered("The borrow file holds no vendor's update with one signature", _AGAIN)
    (signature,) = envelope.signatures
    if signature.keyid != keyid:
        raise WrongVendor(
            f"The licence is signed with the vendor key {_shown(signature.keyid)}, not with {keyid[:16]}",
            "Use the borrow file of this vendor's licence.",
        )
    if not _holds(UPDATE_TYPE, payload, signature, vendor):
        raise Tampered("The vendor's signature does not hold: the licence was changed", _AGAIN)


def _signers(envelope: _Envelope, payload: bytes, update: _Update) -> tuple[_Part, ...]:
    """The parts of the update whose containers signed: every signature must hold, and be another's."""
    if envelope.payloadType != BORROWING_TYPE:
        raise Tampered("The borrow file holds no borrowing", _AGAIN)
    parts = {hashlib.sha256(bytes.fromhex(part.container_key)).hexdigest(): part for part in update.parts}
    signers: dict[str, _Part] = {}
    for signature in envelope.signatures:
        part = parts.get(signature.keyid)
        if part is None:
            raise TooFewSignatures(
                f"The key {_shown(signature.keyid)} that signed the borrowing is of no container that the "
                f"vendor's update {_shown(update.update_id)} names",
                "Fetch the borrow file again.",
            )
        try:
            public = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(part.container_key))
        except ValueError:
            raise BadBorrowFile(f"The key of {_shown(part.container)} is none", _AGAIN) from None
        if not _holds(BORROWING_TYPE, payload, signature, public):
            raise Tampered(f"The signature of the container {_shown(part.container)} does not hold", _AGAIN)
        signers[part.container_key] = part
    return tuple(signers.values())


def _check_licence(lent: _Lent, update: _Update, signers: tuple[_Part, ...]) -> None:
    """Checks that the licence lent is the one that the vendor gave these containers, and not more."""
    item = lent.item
    named = (lent.act_id, lent.update_id, item.firm_code)
    if named != (update.act_id, update.update_id, update.firm_code):
        raise Tampered("The borrowing and the vendor's update are not of one system, update and firm", _AGAIN)
    for part in signers:
        if not any(_same(given, item) for given in part.items):
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


def _same(given: dict[str, Any], item: _Item) -> bool:
    try:
        return _Item.model_validate(given) == item
    except ValidationError:
        return False  # another licence, of a kind that this version does not know


def _licence(lent: _Lent, signers: tuple[_Part, ...]) -> BorrowedLicence:
    item = lent.item
    try:
        return BorrowedLicence(
            borrow=lent.borrow,
            since=_time(lent.from_ms),
            until=_time(lent.until_ms),
            client=lent.client,
            station=lent.station,
            user=lent.user,
            borrower=lent.borrower,
            firm_code=item.firm_code,
            product_code=item.product_code,
            tmr_id=item.tmr_id,
            reference=item.reference,
            name=item.name,
            text=item.text,
            customer=item.customer,
            user_data=_base64(item.user_data),
            feature_map=item.feature_map,
            quantity=item.quantity,
            units=item.units,
            expiration=_optional(item.expiration_ms),
            activation=_optional(item.activation_ms),
            maintenance_start=_optional(item.maintenance_start_ms),
            maintenance_end=_optional(item.maintenance_end_ms),
            container=lent.container,
            act_id=lent.act_id,
            update_id=lent.update_id,
            signers=tuple(part.container for part in signers),
        )
    except (OverflowError, ValueError, OSError):
        raise BadBorrowFile("The borrow file holds a time that does not exist", _AGAIN) from None


# -- reading -------------------------------------------------------------------------------------------------


def _holds(kind: str, payload: bytes, signature: _Signature, public: ed25519.Ed25519PublicKey) -> bool:
    """DSSE: the signature is over the pre-authentication encoding of type and payload."""
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    try:
        public.verify(_base64(signature.sig), message)
    except InvalidSignature:
        return False
    return True


def _model(data: bytes, model: type[_M], what: str) -> _M:
    """The model that strict JSON spells: no name twice, no number that is no integer."""
    try:
        tree = json.loads(
            data.decode(),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
        return model.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = f"{place}: {first['msg']}"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise BadBorrowFile(
        f"This is no borrow file that this version understands: {what}: {_shown(reason, 200)}",
        "Give the file that was borrowed, unchanged; if it is, upgrade this program.",
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return result


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS_MAX:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"the number {text[:20]} is no integer")


def _base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if base64.b64encode(data).decode() != text:
        raise Tampered("The borrow file holds a field that is no Base64 in its canonical spelling", _AGAIN)
    return data


def _vendor_key(pem: bytes | str) -> ed25519.Ed25519PublicKey:
    try:
        public = load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
    except Exception:  # what the parser raises for hostile bytes is not documented
        public = None
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise ConfigError(
            "The vendor's key is no Ed25519 public key in PEM",
            "Give the FIRMCODE.pem that the vendor hands out.",
        )
    return public


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise ConfigError("This is no certificate in PEM", "Give the client's certificate file.") from None


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC) + timedelta(milliseconds=ms % 1000)


def _optional(ms: int | None) -> datetime | None:
    return None if ms is None else _time(ms)


def _shown(text: str, size: int = 64) -> str:
    """At most `size` characters, in ASCII with escapes: safe for a terminal and a log."""
    return text[:size].encode("unicode_escape").decode("ascii")


def _written(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
