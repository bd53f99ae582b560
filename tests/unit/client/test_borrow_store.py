# SPDX-License-Identifier: Apache-2.0
"""The store of borrow files, and a clock that was set back."""

import stat
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.lending import NOW, Lender, borrower, item
from tmr.client.borrow_problems import (
    BadBorrowFile,
    BorrowExpired,
    BorrowStoreError,
    ClockSetBack,
    LacksFeature,
    OtherBorrower,
    Tampered,
)
from tmr.client.borrow_store import BorrowStore, default_directory
from tmr.client.borrowed import CLOCK_TOLERANCE, BorrowedLicence

LENDER = Lender(item(borrow_s=30 * 86_400))
ALICE = borrower()
FILE = LENDER.file(ALICE)


@pytest.fixture
def store(tmp_path: Path) -> BorrowStore:
    return BorrowStore(tmp_path / "data" / "tmr" / "borrowed")


def used(store: BorrowStore, now: datetime = NOW, *, features: int = 0) -> BorrowedLicence:
    return store.use(
        "bor-1",
        vendor_key=LENDER.vendor_pem,
        certificate=ALICE.certificate,
        key=ALICE.key,
        now=now,
        features=features,
    )


def test_a_file_is_kept_for_its_owner_alone_and_used(store: BorrowStore) -> None:
    path = store.store(FILE)
    assert used(store, features=0b11).label == "6000010:201 #1"
    assert store.read("bor-1") == FILE
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in store.directory.iterdir()} == {0o600}
    assert sorted(file.name for file in store.directory.iterdir()) == ["bor-1.borrow", "bor-1.clock"]
    assert path == store.path("bor-1")


def test_the_same_file_twice_is_one_borrowing(store: BorrowStore) -> None:
    store.store(FILE)
    later = NOW + timedelta(hours=5)
    used(store, later)
    store.store(FILE)
    assert [one.borrow for one in store.list()] == ["bor-1"]
    with pytest.raises(ClockSetBack):
        used(store, NOW)


def test_a_copy_is_of_no_use_to_another_holder_or_on_another_machine(tmp_path: Path) -> None:
    """Its own certificate and key, which stay where they were made, prove who borrowed."""
    copied = BorrowStore(tmp_path / "copied")
    copied.store(FILE)
    other = borrower()
    for certificate, key in ((other.certificate, other.key), (ALICE.certificate, other.key)):
        with pytest.raises(OtherBorrower):
            copied.use("bor-1", vendor_key=LENDER.vendor_pem, certificate=certificate, key=key, now=NOW)


def test_a_copy_kept_after_the_return_works_to_its_end_and_not_beyond(
    store: BorrowStore, tmp_path: Path
) -> None:
    """Admitted in docs/explanation/security.md: nothing reaches a program that asks nobody."""
    store.store(FILE)
    copy = BorrowStore(tmp_path / "copy")
    copy.store(store.read("bor-1"))
    store.remove("bor-1")
    with pytest.raises(BorrowStoreError):
        used(store)
    end = used(copy).until
    used(copy, end - timedelta(seconds=1))
    with pytest.raises(BorrowExpired):
        used(copy, end)


def test_what_is_kept_is_listed_with_what_cannot_be_read(store: BorrowStore) -> None:
    assert store.list() == ()
    store.store(LENDER.file(ALICE, borrow="bor-2"))
    store.store(FILE)
    (store.directory / "spoilt.borrow").write_bytes(FILE[:100])
    (store.directory / ".new-unfinished.borrow").write_bytes(b"")
    listed = store.list()
    assert [(one.borrow, one.licence and one.licence.product_code) for one in listed] == [
        ("bor-1", 201),
        ("bor-2", 201),
        ("spoilt", None),
    ]


def test_what_is_removed_is_gone(store: BorrowStore) -> None:
    store.store(FILE)
    used(store)
    store.remove("bor-1")
    assert list(store.directory.iterdir()) == []
    for gone in (lambda: store.remove("bor-1"), lambda: store.read("bor-1"), lambda: used(store)):
        with pytest.raises(BorrowStoreError, match="no borrowing bor-1"):
            gone()


@pytest.mark.parametrize("borrow", ["", "..", ".hidden", "../bor-1", "a/b", "a\n", "x" * 129, "bor\x001"])
def test_no_id_leads_out_of_the_directory(store: BorrowStore, borrow: str) -> None:
    with pytest.raises(BorrowStoreError, match="no id"):
        store.read(borrow)
    with pytest.raises(BadBorrowFile, match="borrow"):
        store.store(LENDER.file(ALICE, borrow=borrow))
    assert not store.directory.exists()


def test_no_borrow_file_is_not_kept(store: BorrowStore) -> None:
    for data, error in ((b"{}", BadBorrowFile), (FILE + b"\n", Tampered)):
        with pytest.raises(error):
            store.store(data)
    assert not store.directory.exists()


def test_a_clock_that_was_set_back_is_noticed(store: BorrowStore) -> None:
    store.store(FILE)
    used(store)
    used(store, NOW - CLOCK_TOLERANCE)
    with pytest.raises(ClockSetBack, match="was used at"):
        used(store, NOW - CLOCK_TOLERANCE - timedelta(seconds=1))
    used(store, NOW)


def test_a_clock_set_back_after_the_end_is_noticed(store: BorrowStore) -> None:
    store.store(FILE)
    end = used(store).until
    with pytest.raises(BorrowExpired):
        used(store, end + timedelta(days=1))
    with pytest.raises(ClockSetBack):
        used(store, NOW)
    store.store(FILE)  # the same file again forgets nothing
    with pytest.raises(ClockSetBack):
        used(store, NOW)
    store.store(LENDER.file(ALICE, borrow="bor-2"))  # a new borrowing starts afresh
    store.use(
        "bor-2",
        vendor_key=LENDER.vendor_pem,
        certificate=ALICE.certificate,
        key=ALICE.key,
        now=NOW,
    )


def test_a_file_under_another_name_keeps_its_clock(store: BorrowStore) -> None:
    used_path = store.store(FILE)
    used(store, NOW + timedelta(days=1))
    used_path.rename(used_path.with_name("bor-9.borrow"))
    with pytest.raises(ClockSetBack):
        store.use(
            "bor-9", vendor_key=LENDER.vendor_pem, certificate=ALICE.certificate, key=ALICE.key, now=NOW
        )


def test_what_is_refused_for_other_reasons_notes_no_time(store: BorrowStore) -> None:
    bob = borrower()
    store.store(FILE)
    with pytest.raises(OtherBorrower):
        store.use(
            "bor-1",
            vendor_key=LENDER.vendor_pem,
            certificate=bob.certificate,
            key=bob.key,
            now=NOW + timedelta(days=1),
        )
    used(store, NOW)
    with pytest.raises(LacksFeature):
        used(store, NOW, features=1 << 31)


def test_a_spoilt_clock_is_told(store: BorrowStore) -> None:
    store.store(FILE)
    for spoilt in (b"", b"{}", b'{"latest_ms":"1"}', b'{"latest_ms":99999999999999999999}', b"\xff"):
        (store.directory / "bor-1.clock").write_bytes(spoilt)
        with pytest.raises(BorrowStoreError, match=r"bor-1\.clock"):
            used(store)


def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = BorrowStore(tmp_path / "file" / "borrowed")
    with pytest.raises(BorrowStoreError, match="borrowed"):
        store.store(FILE)
    (store_path := tmp_path / "kept").mkdir()
    (store_path / "bor-1.borrow").mkdir()
    with pytest.raises(BorrowStoreError, match=r"bor-1\.borrow"):
        BorrowStore(store_path).read("bor-1")


@settings(deadline=None, max_examples=40)
@given(st.lists(st.timedeltas(timedelta(0), timedelta(days=2)), min_size=1, max_size=8))
def test_time_never_goes_back_by_more_than_the_tolerance(
    tmp_path_factory: pytest.TempPathFactory, offsets: list[timedelta]
) -> None:
    store = BorrowStore(tmp_path_factory.mktemp("store"))
    store.store(FILE)
    latest = NOW
    for offset in offsets:
        now = NOW + offset
        if now < latest - CLOCK_TOLERANCE:
            with pytest.raises(ClockSetBack):
                used(store, now)
        else:
            used(store, now)
            latest = max(latest, now)


def test_the_directory_is_that_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    home = tmp_path / ".local" / "share" / "tmr" / "borrowed"
    assert default_directory({}) == default_directory({"XDG_DATA_HOME": "relative"}) == home
    assert default_directory({"XDG_DATA_HOME": "/data"}) == Path("/data/tmr/borrowed")
