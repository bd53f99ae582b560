# SPDX-License-Identifier: Apache-2.0
"""Containers, Product Items, vendor-signed licence files, three containers merged. No clock, no I/O."""

from tmr.licensing.borrow_file import BorrowSignature, BorrowTerms, check_share, seal_borrow_file, share
from tmr.licensing.container import Container, Firm, activate, check_for, make_request
from tmr.licensing.dsse import ENVELOPE_MAX
from tmr.licensing.errors import (
    BadBorrowSignature,
    BadItem,
    BadKey,
    BadRequest,
    BadSerial,
    BadStatement,
    LicensingError,
    NotIssued,
    NotSigned,
    UpdateRefused,
)
from tmr.licensing.issuing import Issued, issue
from tmr.licensing.items import LicenceKey, ProductItem
from tmr.licensing.merge import Incomplete, Merged, MergedLicence, Rejected, merge, merge_plain
from tmr.licensing.orders import Change, Licence, LicenceSelector, Refill, Removal, next_tmr_id
from tmr.licensing.request import Request, open_request
from tmr.licensing.serial import Kind, Serial, SerialUse, container_serial, virtual_serial
from tmr.licensing.signing import (
    fingerprint,
    private_key_from_pem,
    private_key_to_pem,
    public_key_from_pem,
    public_key_to_pem,
    raw_public_key,
)
from tmr.licensing.statement import SignedStatement, Statement, open_statement, sign
from tmr.licensing.update import Part, Update, open_update

__all__ = [
    "ENVELOPE_MAX",
    "BadBorrowSignature",
    "BadItem",
    "BadKey",
    "BadRequest",
    "BadSerial",
    "BadStatement",
    "BorrowSignature",
    "BorrowTerms",
    "Change",
    "Container",
    "Firm",
    "Incomplete",
    "Issued",
    "Kind",
    "Licence",
    "LicenceKey",
    "LicenceSelector",
    "LicensingError",
    "Merged",
    "MergedLicence",
    "NotIssued",
    "NotSigned",
    "Part",
    "ProductItem",
    "Refill",
    "Rejected",
    "Removal",
    "Request",
    "Serial",
    "SerialUse",
    "SignedStatement",
    "Statement",
    "Update",
    "UpdateRefused",
    "activate",
    "check_for",
    "check_share",
    "container_serial",
    "fingerprint",
    "issue",
    "make_request",
    "merge",
    "merge_plain",
    "next_tmr_id",
    "open_request",
    "open_statement",
    "open_update",
    "private_key_from_pem",
    "private_key_to_pem",
    "public_key_from_pem",
    "public_key_to_pem",
    "raw_public_key",
    "seal_borrow_file",
    "share",
    "sign",
    "virtual_serial",
]
