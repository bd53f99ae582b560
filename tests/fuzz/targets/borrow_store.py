# SPDX-License-Identifier: Apache-2.0
"""The directory in which a client keeps borrow files: somebody else wrote into it."""

import tempfile
from pathlib import Path

from tests.fuzz.targets.borrow_files import ALICE, FILE, LENDER
from tests.support.lending import NOW
from tmr.client.borrow_problems import BorrowError
from tmr.client.borrow_store import BorrowStore

_DIRECTORY = tempfile.TemporaryDirectory(prefix="tmr-fuzz-")
STORE = BorrowStore(Path(_DIRECTORY.name))
CLOCK = b'{"latest_ms":1790000000000}'
SEEDS = [b"\0" + CLOCK, b"\1" + FILE]


def check(data: bytes) -> None:
    """The first byte says whether the rest is a clock, or a borrow file."""
    clock, file = (CLOCK, data[1:]) if data[:1] == b"\1" else (data[1:], FILE)
    (STORE.directory / "bor-1.borrow").write_bytes(file)
    (STORE.directory / "bor-1.clock").write_bytes(clock)
    assert [one.borrow for one in STORE.list()] == ["bor-1"]
    try:
        STORE.use(
            "bor-1", vendor_key=LENDER.vendor_pem, certificate=ALICE.certificate, key=ALICE.key, now=NOW
        )
    except BorrowError as error:
        assert str(error)
    try:
        STORE.store(file)
    except BorrowError as error:
        assert str(error)
    for path in STORE.directory.iterdir():
        path.unlink()
