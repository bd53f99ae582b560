"""Containers, Product Items, vendor-signed licence files, three containers merged. No clock, no I/O."""

from tmr.licensing.errors import (
    BadItem,
    BadKey,
    BadRequest,
    BadSerial,
    BadStatement,
    LicensingError,
    NotIssued,
    Refused,
)
from tmr.licensing.items import LicenceKey, ProductItem
from tmr.licensing.merge import Incomplete, Merged, MergedLicence, Rejected, merge
from tmr.licensing.serial import Kind, Serial, container_serial, virtual_serial
from tmr.licensing.signing import (
    fingerprint,
    private_key_from_pem,
    private_key_to_pem,
    public_key_from_pem,
    public_key_to_pem,
    raw_public_key,
)
from tmr.licensing.statement import SignedStatement, Statement, open_statement, sign

__all__ = [
    "BadItem",
    "BadKey",
    "BadRequest",
    "BadSerial",
    "BadStatement",
    "Incomplete",
    "Kind",
    "LicenceKey",
    "LicensingError",
    "Merged",
    "MergedLicence",
    "NotIssued",
    "ProductItem",
    "Refused",
    "Rejected",
    "Serial",
    "SignedStatement",
    "Statement",
    "container_serial",
    "fingerprint",
    "merge",
    "open_statement",
    "private_key_from_pem",
    "private_key_to_pem",
    "public_key_from_pem",
    "public_key_to_pem",
    "raw_public_key",
    "sign",
    "virtual_serial",
]
