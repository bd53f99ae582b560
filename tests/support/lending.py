# SPDX-License-Identifier: Apache-2.0
"""A system that lends, for tests: a vendor's update, its containers, a borrower, borrow files."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID

from tmr.client.borrowed import fingerprint
from tmr.licensing import (
    BorrowTerms,
    Container,
    Part,
    ProductItem,
    Update,
    activate,
    public_key_to_pem,
    raw_public_key,
    seal_borrow_file,
    share,
)
from tmr.licensing.update import seal_update

FIRM: Final = 6_000_010
ACT_ID: Final = "lab-0123456789abcdef"
FROM_MS: Final = 1_790_000_000_000
DAY_MS: Final = 86_400_000
NOW: Final = datetime.fromtimestamp(FROM_MS // 1000, UTC) + timedelta(hours=1)


def item(**options: Any) -> ProductItem:
    """A licence that can be borrowed for a week, with an option of every kind."""
    values: dict[str, Any] = {
        "firm_code": FIRM,
        "product_code": 201,
        "tmr_id": 1,
        "quantity": 5,
        "expiration_ms": FROM_MS + 365 * DAY_MS,
        "name": "Editor größer",
        "activation_ms": FROM_MS - DAY_MS,
        "maintenance_start_ms": FROM_MS - 100 * DAY_MS,
        "maintenance_end_ms": FROM_MS + 100 * DAY_MS,
        "borrow_s": 7 * 86_400,
        "borrow_seats": 2,
        "feature_map": 0b1011,
        "text": "text",
        "customer": "customer 4711",
        "user_data": b"\x00\xff data",
    }
    return ProductItem(**{**values, **options})


class Borrower(NamedTuple):
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.certificate)


def borrower(key: CertificateIssuerPrivateKeyTypes | None = None) -> Borrower:
    """A certificate for `key`, or for a new one as the system's clients have."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
    algorithm = None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, algorithm)
    )
    return Borrower(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def update_file(
    vendor: Ed25519PrivateKey,
    containers: Sequence[Container],
    items: Sequence[ProductItem],
    update_id: str = "update-1",
    counter: int = 1,
) -> bytes:
    """The vendor's update that gives these items to each of the containers."""
    parts = tuple(Part(c.serial, c.key.hex(), counter, tuple(items)) for c in containers)
    return seal_update(Update(1, FIRM, containers[0].act_id, FROM_MS - DAY_MS, update_id, parts), vendor)


class Lender:
    """A vendor and three containers that hold `items`."""

    def __init__(self, *items: ProductItem) -> None:
        self.vendor = Ed25519PrivateKey.generate()
        self.vendor_pem = public_key_to_pem(raw_public_key(self.vendor))
        self.keys = [Ed25519PrivateKey.generate() for _ in range(3)]
        self.containers = [Container.create(ACT_ID, raw_public_key(key)) for key in self.keys]
        self.updates = 0
        self.update(*items or (item(),))

    def update(self, *items: ProductItem) -> None:
        """All containers take another update."""
        self.updates += 1
        file = update_file(self.vendor, self.containers, items, f"update-{self.updates}", self.updates)
        trusted = {FIRM: raw_public_key(self.vendor)}
        self.containers = [activate(container, file, trusted) for container in self.containers]

    def terms(self, to: Borrower, **values: Any) -> BorrowTerms:
        """What the ledger would say."""
        terms = BorrowTerms(
            "bor-1", "alice", to.fingerprint, "cad-07", "Zoë", FROM_MS, FROM_MS + 3 * DAY_MS, self.item
        )
        return msgspec.structs.replace(terms, **values)

    @property
    def item(self) -> ProductItem:
        """The first licence of the containers."""
        return self.containers[0].items[0]

    def file(self, to: Borrower, signers: Sequence[int] = (0, 1), **values: Any) -> bytes:
        """The borrow file of these containers."""
        terms = self.terms(to, **values)
        return seal_borrow_file([share(terms, self.containers[i], self.keys[i]) for i in signers])
