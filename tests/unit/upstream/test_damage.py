# SPDX-License-Identifier: Apache-2.0
"""A store that is damaged, foreign or open to others is refused at the start, with what to do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tmr.api.deployment import TMR
from tmr.quorum.durable import AppendWrite, CommitWrite, PromiseWrite, SnapshotWrite, VotingWrite
from tmr.quorum.entries import Entry, Membership, ProposerId, Snapshot
from tmr.upstream import store as stores
from tmr.upstream.container_store import KEY_FILE, ContainerStore
from tmr.upstream.store import Store
from tmr.upstream.store_errors import StoreError
from tmr.upstream.store_schema import CHECK_FILE, FILE

MACHINE = "a" * 64
PAGE = 4096
ENTRIES = 400


def entries(first: int, count: int, body: bytes = b"x" * 100) -> tuple[Entry, ...]:
    return tuple(Entry(index, 1, 1_000 + index, "term", body) for index in range(first, first + count))


def start(directory: Path, machine: str = MACHINE, name: str = "up1", act_id: str = "lab-1") -> None:
    """What the daemon does with its store before it answers anybody."""
    store = Store.open(directory, machine)
    try:
        durable = store.load()
        store.check_deployment(durable.membership, TMR)
        store.check_owner(name)
        ContainerStore.open(store, name, act_id, directory)
    finally:
        store.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The state directory of an upstream that was at work, stopped in good order."""
    place = tmp_path / "state"
    place.mkdir()
    store = Store.open(place, MACHINE)
    members = Membership((store.load().replica_id, "d2", "d3"))
    store.write([SnapshotWrite(Snapshot(5, 1, 1, members, b"state" * 2_000), keep_tail=False)])
    store.write(
        [VotingWrite(voting=True), PromiseWrite(1, ProposerId("tmr1", "n")), AppendWrite(entries(6, ENTRIES))]
    )
    store.write([CommitWrite(5 + ENTRIES)])
    store.close()
    start(place)
    start(place)
    return place


def pages_of(directory: Path, table: str) -> list[int]:
    """Page numbers of the table's b-tree, its root first."""
    with sqlite3.connect(directory / FILE) as raw:
        (root,) = raw.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    raw.close()
    data = (directory / FILE).read_bytes()[(root - 1) * PAGE : root * PAGE]
    if data[0] != 5:  # no inner page of a table: all is on the root
        return [root]
    cells = int.from_bytes(data[3:5], "big")
    offsets = [int.from_bytes(data[12 + 2 * n : 14 + 2 * n], "big") for n in range(cells)]
    return [root, *(int.from_bytes(data[at : at + 4], "big") for at in offsets)]


def overwrite(directory: Path, page: int, what: bytes, at: int = 0) -> None:
    with (directory / FILE).open("r+b") as file:
        file.seek((page - 1) * PAGE + at)
        file.write(what)


@pytest.mark.parametrize("table", ["meta", "journal", "snapshot", "container", "record_run"])
def test_a_broken_page_of_any_table_is_found(directory: Path, table: str) -> None:
    overwrite(directory, pages_of(directory, table)[-1], b"\xff" * PAGE)
    with pytest.raises(StoreError, match=r"damaged.*move the whole directory") as refused:
        start(directory)
    assert refused.value.lasting
    assert str(directory / FILE) in str(refused.value)


def test_a_page_of_another_place_is_found(directory: Path) -> None:
    """As after a write that went astray: well formed, and wrong there."""
    first, second = pages_of(directory, "journal")[1:3]
    data = (directory / FILE).read_bytes()
    overwrite(directory, first, data[(second - 1) * PAGE : second * PAGE])
    with pytest.raises(StoreError, match="damaged"):
        start(directory)


@pytest.mark.parametrize(("table", "text"), [("snapshot", b"statestate"), ("container", b"lab-1")])
def test_a_changed_byte_within_a_value_is_found(directory: Path, table: str, text: bytes) -> None:
    data = (directory / FILE).read_bytes()
    at = data.rindex(text)
    with (directory / FILE).open("r+b") as file:
        file.seek(at)
        file.write(bytes([text[0] ^ 1]))
    with pytest.raises(StoreError, match=f"damaged.*{table}"):
        start(directory)


@pytest.mark.parametrize("left", [0.9, 0.5, 0.1])
def test_a_truncated_file_is_found(directory: Path, left: float) -> None:
    size = (directory / FILE).stat().st_size
    os.truncate(directory / FILE, int(size * left))
    with pytest.raises(StoreError, match="damaged"):
        start(directory)


def test_an_emptied_file_never_becomes_a_new_store_with_the_old_key(directory: Path) -> None:
    os.truncate(directory / FILE, 0)
    for _ in range(2):
        with pytest.raises(StoreError, match="the store was lost"):
            start(directory)
    (directory / FILE).unlink()
    with pytest.raises(StoreError, match="the store was lost"):
        start(directory)


@pytest.mark.parametrize("left", [0.0, 0.4])
def test_a_lost_log_leaves_an_older_state_and_no_damage(tmp_path: Path, directory: Path, left: float) -> None:
    """What the log had is forgotten: that it was confirmed, the others remember (decision 12)."""
    store = Store.open(directory, MACHINE)
    before = store.load()
    for number in range(5):
        store.write([AppendWrite(entries(6 + ENTRIES + number, 1))])
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    store.close()
    log = copy / f"{FILE}-wal"
    if left:
        os.truncate(log, int(log.stat().st_size * left))
    else:
        log.unlink()
    start(copy)
    store = Store.open(copy, MACHINE)
    last = store.load().entries[-1].index
    store.close()
    assert before.entries[-1].index <= last < 5 + ENTRIES + 5


FOREIGN: list[tuple[str, Callable[[Path], None], str]] = [
    ("machine", lambda place: start(place, machine="b" * 64), "another machine"),
    ("system", lambda place: start(place, act_id="lab-2"), "made for the system lab-1.*lab-2"),
    ("upstream", lambda place: start(place, name="up2"), "of the upstream up1.*up2"),
]


@pytest.mark.parametrize(("_of", "begin", "said"), FOREIGN, ids=[one[0] for one in FOREIGN])
def test_a_foreign_directory_is_refused_and_left_as_it_is(
    directory: Path, _of: str, begin: Callable[[Path], None], said: str
) -> None:
    with pytest.raises(StoreError, match=said):
        begin(directory)
    start(directory)


def test_a_missing_foreign_or_open_key_is_refused(tmp_path: Path, directory: Path) -> None:
    key = directory / KEY_FILE
    right = key.read_bytes()
    key.unlink()
    with pytest.raises(StoreError, match=r"cannot be read: No such file.*restore it, or move the whole"):
        start(directory)
    other = tmp_path / "other"
    other.mkdir()
    start(other)
    shutil.copy2(other / KEY_FILE, key)
    with pytest.raises(StoreError, match="not the key of the container"):
        start(directory)
    key.write_bytes(right[:40])
    with pytest.raises(StoreError, match="cannot be read"):
        start(directory)
    key.write_bytes(right)
    if sys.platform != "win32":
        key.chmod(0o640)
        with pytest.raises(StoreError, match=r"open to others \(mode 0640\).*chmod 0600"):
            start(directory)
    key.chmod(0o600)
    start(directory)


def test_what_the_file_system_refuses_is_named(directory: Path) -> None:
    (directory / FILE).rename(directory / "aside")
    (directory / FILE).mkdir()
    with pytest.raises(StoreError, match="check the disk, and"):
        start(directory)


def test_a_large_record_is_checked_only_after_a_suspicion(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(directory, MACHINE)
    rows = [(1, seq, 1, b"l" * 200, b"h" * 32) for seq in range(1, 500)]
    with store.transaction():
        store._db.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?)", rows)
    store.close()
    monkeypatch.setattr(stores, "CHECKED_WHOLE", 0)
    with sqlite3.connect(directory / FILE) as raw:
        (root,) = raw.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'record'").fetchone()
    raw.close()
    overwrite(directory, root, b"\xff" * 64, at=PAGE - 64)
    overwrite(directory, root, b"\xff" * 20)
    start(directory)  # nobody has read it yet

    store = Store.open(directory, MACHINE)
    with pytest.raises(sqlite3.DatabaseError) as failed:
        store._db.execute("SELECT count(line) FROM record").fetchone()
    store.suspect(failed.value)
    store.close()
    assert (directory / CHECK_FILE).exists()
    with pytest.raises(StoreError, match="damaged"):
        start(directory)
    overwrite(directory, pages_of(directory, "meta")[-1], b"\xff" * PAGE)
    with pytest.raises(StoreError, match="damaged"):  # the rest is checked in any case
        start(directory)


def test_a_disk_that_is_full_is_no_suspicion(directory: Path) -> None:
    store = Store.open(directory, MACHINE)
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    store.suspect(error)
    store.close()
    assert not (directory / CHECK_FILE).exists()


def test_file_and_log_stay_bounded(tmp_path: Path) -> None:
    """200,000 entries, compacted every 5,000; a snapshot far larger than the log may stay."""
    store = Store.open(tmp_path, MACHINE)
    log, sizes, logs = tmp_path / f"{FILE}-wal", [], []
    members = Membership(("d1", "d2", "d3"))
    for first in range(1, 200_001, 1_000):
        store.write([AppendWrite(entries(first, 1_000, b"x" * 80)), CommitWrite(first + 999)])
        if (first + 999) % 5_000 == 0:
            store.write([SnapshotWrite(Snapshot(first + 999, 1, 1, members, b"s" * 50_000), keep_tail=True)])
            sizes.append((tmp_path / FILE).stat().st_size)
            logs.append(log.stat().st_size)
    assert max(sizes) <= 1.5 * max(sizes[:8]), "freed pages are used again"
    assert max(logs) < stores.WAL_KEPT
    store.write([SnapshotWrite(Snapshot(200_000, 1, 1, members, bytes(3 * stores.WAL_KEPT)), keep_tail=True)])
    assert log.stat().st_size > stores.WAL_KEPT
    for number in range(3):
        store.write([AppendWrite(entries(200_001 + number, 1))])
    assert log.stat().st_size <= stores.WAL_KEPT
    assert [entry.index for entry in store.load().entries] == [200_001, 200_002, 200_003]
    store.close()
