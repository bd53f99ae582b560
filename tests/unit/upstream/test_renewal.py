# SPDX-License-Identifier: Apache-2.0
"""An operator gives up the journal of an upstream: it begins anew, with its container and without blame."""

from pathlib import Path

import pytest

from tmr.daemons import upstream
from tmr.ledger import Ledger
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import GIVEN_UP, AppendWrite, CommitWrite, SnapshotWrite, VotingWrite
from tmr.quorum.entries import Entry, Membership, Snapshot
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.fingerprint import machine_fingerprint
from tmr.upstream.store import Store
from tmr.upstream.store_schema import DAMAGED_FILE

CONFIG = """
name = "up1"
system = "lab"
mode = "{mode}"
listen = "127.0.0.1"
state_dir = "{state}"
act_id = "lab-1"
[tls]
certificate = "/c"
key = "/k"
ca = "/a"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of an upstream that was at work."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    store = Store.open(state, machine_fingerprint())
    members = Membership((store.load().replica_id, "d2", "d3"))
    store.write([SnapshotWrite(Snapshot(5, 1, 1, members, b""), keep_tail=False), VotingWrite(voting=True)])
    store.write([AppendWrite((Entry(6, 1, 1_000, "term", b""),)), CommitWrite(6)])
    ContainerStore.open(store, "up1", "lab-1", tmp_path)
    store.close()
    file = tmp_path / "upstream.toml"
    file.write_text(CONFIG.format(mode="tmr", state=state))
    return file


def renew(config: Path) -> int:
    return upstream.main(["--config", str(config), "renew"])


def test_the_journal_is_given_up_and_the_container_stays(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = config.parent / "state"
    store = Store.open(state, machine_fingerprint())
    former, serial = store.load(), ContainerStore.open(store, "up1", "lab-1", config.parent).container.serial
    store.close()
    assert renew(config) == 0
    assert DAMAGED_FILE in capsys.readouterr().out
    store = Store.open(state, machine_fingerprint())
    durable = store.load()
    assert durable.replica_id != former.replica_id
    assert (durable.voting, durable.commit, durable.entries) == (False, 0, [])
    assert ContainerStore.open(store, "up1", "lab-1", config.parent).container.serial == serial
    acceptor = Acceptor(durable, Ledger(), 0.0, 2.0)
    assert acceptor.damage == GIVEN_UP
    assert not acceptor.state(1_000).damaged, "no disk is to blame"
    store.write([VotingWrite(voting=True)])
    assert store.load().damage == ""
    store.close()


def test_a_store_in_use_is_left_alone(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.open(config.parent / "state", machine_fingerprint())
    try:
        before = store.load().replica_id
        assert renew(config) == 1
        assert "stop it first" in capsys.readouterr().err
        assert store.load().replica_id == before
    finally:
        store.close()


def test_a_server_alone_and_a_store_that_is_not_there_are_refused(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = config.parent / "state"
    config.write_text(CONFIG.format(mode="network", state=state))
    assert renew(config) == 1
    assert "is alone" in capsys.readouterr().err
    config.write_text(CONFIG.format(mode="tmr", state=config.parent / "nowhere"))
    assert renew(config) == 1
    assert "there is no store" in capsys.readouterr().err
