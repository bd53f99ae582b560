# SPDX-License-Identifier: Apache-2.0
"""Borrow files and shares of them: as they are, and payloads that the containers, or the vendor, signed."""

import base64
import json

from tests.support.lending import NOW, Lender, borrower
from tmr.client.borrow_problems import BorrowError
from tmr.client.borrowed import describe, verify
from tmr.licensing import BadBorrowSignature, BorrowSignature, check_share, seal_borrow_file, share
from tmr.licensing.borrow_file import BORROWING_TYPE
from tmr.licensing.dsse import read_envelope, seal
from tmr.licensing.signing import sign_bytes
from tmr.licensing.update import UPDATE_TYPE

LENDER = Lender()
ALICE = borrower()
FILE = LENDER.file(ALICE)
TREE = json.loads(FILE)
SHARE = share(LENDER.terms(ALICE), LENDER.containers[0], LENDER.keys[0])
SEEDS = [
    b"\0" + FILE,
    b"\1" + SHARE.payload,
    b"\2" + read_envelope(SHARE.update).payload,
    b"\3" + SHARE.update,
]


def _spelt(name: str, sealed: bytes) -> bytes:
    return json.dumps({**TREE, name: json.loads(sealed)}, separators=(",", ":")).encode()


def check(data: bytes) -> None:
    """The first byte says what the rest is."""
    kind, rest = data[:1], data[1:]
    file = rest
    if kind == b"\1":
        file = _spelt("borrowing", seal(BORROWING_TYPE, rest, *LENDER.keys[:2]))
        _check_share(
            BorrowSignature(rest, sign_bytes(BORROWING_TYPE, rest, LENDER.keys[0]), SHARE.key, SHARE.update)
        )
    elif kind == b"\2":
        update = seal(UPDATE_TYPE, rest, LENDER.vendor)
        file = _spelt("update", update)
        _check_share(BorrowSignature(SHARE.payload, SHARE.signature, SHARE.key, update))
    elif kind == b"\3":
        _check_share(BorrowSignature(SHARE.payload, SHARE.signature, SHARE.key, rest))
    try:
        describe(file)
    except BorrowError as error:
        assert str(error)
    try:
        licence = verify(
            file, vendor_key=LENDER.vendor_pem, certificate=ALICE.certificate, key=ALICE.key, now=NOW
        )
    except BorrowError as error:
        assert str(error)
    else:
        assert licence.firm_code == LENDER.item.firm_code
        assert base64.b64decode(json.loads(file)["update"]["payload"])


def _check_share(given: BorrowSignature) -> None:
    try:
        checked = check_share(given)
    except BadBorrowSignature as error:
        assert str(error)
        return
    if checked.signers == 1:
        seal_borrow_file([given])
