# SPDX-License-Identifier: Apache-2.0
"""One bit of a store flips where it is said, and its owner finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.store_faults import FILE, flip_bit
from tmr.quorum.durable import AppendWrite, SnapshotWrite
from tmr.quorum.entries import Entry, Membership, Snapshot
from tmr.upstream.store import Store
from tmr.upstream.store_errors import DamagedRows

MACHINE = "a" * 64


def stored(directory: Path, entries: tuple[Entry, ...]) -> Path:
    store = Store.open(directory, MACHINE)
    members = Membership((store.load().replica_id, "d2", "d3"))
    store.write([SnapshotWrite(Snapshot(5, 1, 1, members, b"state"), keep_tail=False), AppendWrite(entries)])
    store.close()
    return directory / FILE


def damage(directory: Path) -> str:
    store = Store.open(directory, MACHINE)
    with pytest.raises(DamagedRows) as found:
        store.load()
    store.close()
    return found.value.what


@pytest.mark.parametrize(("percent", "entry"), [(0, 6), (50, 7), (100, 9)])
def test_a_row_of_the_journal_is_damaged(tmp_path: Path, percent: int, entry: int) -> None:
    rows = tuple(Entry(index, 1, 1_000, "command", b"body") for index in range(6, 10))
    assert flip_bit(stored(tmp_path, rows), percent) == f"journal entry {entry}"
    assert f"journal entry {entry}" in damage(tmp_path)


def test_a_row_without_a_body_is_damaged(tmp_path: Path) -> None:
    assert flip_bit(stored(tmp_path, (Entry(6, 1, 1_000, "term", b""),)), 0) == "journal entry 6"
    assert "journal entry 6" in damage(tmp_path)


def test_the_snapshot_is_damaged_where_there_is_no_journal(tmp_path: Path) -> None:
    assert flip_bit(stored(tmp_path, ()), 30) == "the snapshot"
    assert "snapshot" in damage(tmp_path)
