# SPDX-License-Identifier: Apache-2.0
"""One changed bit of a row is found at the start: the upstream begins anew, and says what it was."""

import sqlite3
from pathlib import Path

import pytest

from tmr.ledger import Ledger
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import AppendWrite, CommitWrite, PromiseWrite, SnapshotWrite, TermWrite, VotingWrite
from tmr.quorum.entries import Entry, Membership, ProposerId, Snapshot
from tmr.quorum.messages import Acquire, Bootstrap, NotVoting, RequestRefused
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.store import Store
from tmr.upstream.store_errors import DamagedRows
from tmr.upstream.store_schema import DAMAGED_FILE, FILE

MACHINE = "a" * 64
OWNER = ProposerId("tmr1", "run")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The state directory of an upstream that was at work."""
    store = Store.open(tmp_path, MACHINE)
    members = Membership((store.load().replica_id, "d2", "d3"))
    store.write([SnapshotWrite(Snapshot(5, 1, 1, members, b""), keep_tail=False), VotingWrite(voting=True)])
    rows = tuple(Entry(index, 1, 1_000, "term", b"a body of the journal") for index in range(6, 10))
    store.write([PromiseWrite(7, OWNER, 2_000), AppendWrite(rows), TermWrite(7), CommitWrite(9)])
    ContainerStore.open(store, "up1", "lab-1", tmp_path)
    store.close()
    return tmp_path


def change(directory: Path, statement: str) -> None:
    with sqlite3.connect(directory / FILE) as raw:
        raw.execute(statement)
    raw.close()


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE journal SET body = CAST('b body of the journal' AS BLOB) WHERE idx = 7", "journal entry 7"),
        ("UPDATE journal SET epoch = 3 WHERE idx = 8", "journal entry 8"),
        ("DELETE FROM journal WHERE idx = 6", "journal entry 6 is missing"),
        ("UPDATE snapshot SET time_ms = 2", "snapshot"),
        ("UPDATE meta SET promised = 3", "promise"),
        ("UPDATE meta SET incarnation = 'other'", "promise"),
        ("UPDATE meta SET voting = 0", "promise"),
        ("UPDATE meta SET replica_id = 'other'", "promise"),
        ("UPDATE lease SET granted_ms = 976", "promise"),
        ("UPDATE lease SET released = 1", "promise"),
        ("UPDATE term SET epoch = 4103", "promise"),
    ],
)
def test_a_changed_row_is_found_and_the_upstream_begins_anew(
    directory: Path, statement: str, what: str
) -> None:
    store = Store.open(directory, MACHINE)
    former, serial = store.load(), ContainerStore.open(store, "up1", "lab-1", directory).container.serial
    store.close()
    change(directory, statement)
    store = Store.open(directory, MACHINE)
    with pytest.raises(DamagedRows, match=what) as found:
        store.load()
    store.renew(found.value.what)
    store.close()
    store = Store.open(directory, MACHINE)
    durable = store.load()
    assert what in durable.damage
    assert durable.replica_id != former.replica_id
    assert not durable.voting and not durable.entries and durable.membership is None
    assert ContainerStore.open(store, "up1", "lab-1", directory).container.serial == serial
    assert (directory / DAMAGED_FILE).stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(directory / DAMAGED_FILE) as kept:
        assert kept.execute("SELECT replica_id FROM meta").fetchone()[0] in (former.replica_id, "other")
    kept.close()
    store.write([VotingWrite(voting=True)])
    assert store.load().damage == ""
    store.close()


def test_three_that_began_anew_never_found_a_new_system(directory: Path) -> None:
    """What they had may still be read by people: an empty journal in its place would lose it unseen."""
    store = Store.open(directory, MACHINE)
    disk = store.renew("journal entry 7")
    acceptor = Acceptor(store.load(), Ledger(), 0.0, 2.0)
    asked = acceptor.handle(1.0, 1_000, Acquire(2, OWNER, 2_000)).reply
    assert isinstance(asked, NotVoting) and not asked.new_store
    founded = acceptor.handle(1.0, 1_000, Bootstrap(OWNER, Membership((disk, "d2", "d3")))).reply
    assert isinstance(founded, RequestRefused)
    store.close()
