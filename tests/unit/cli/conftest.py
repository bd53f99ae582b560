# SPDX-License-Identifier: Apache-2.0
"""A server on loopback, a client.toml for it, and the `tmr` command as a process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.pki import System, make_system
from tests.unit.client.peer import Peer, State

TOML = """
system = "lab"
servers = ["127.0.0.1"]
twins = {twins}
port = {port}
[tls]
certificate = "{tls.certificate}"
key = "{tls.key}"
ca = "{tls.ca}"
"""

Tmr = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"), addresses=("127.0.0.1", "127.0.0.2", "127.0.0.3"))


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def peer(pki: System, state: State) -> Iterator[Peer]:
    server = Peer(pki.twin("tmr1"), state).start()
    yield server
    server.stop()


@pytest.fixture
def config(tmp_path: Path, pki: System, peer: Peer) -> Path:
    path = tmp_path / "client.toml"
    twins = json.dumps(["127.0.0.2", "127.0.0.3"])
    path.write_text(TOML.format(port=peer.port, twins=twins, tls=pki.client("alice")))
    return path


def command(*arguments: str) -> list[str]:
    """`tmr` with these arguments, as a process of this Python."""
    return [sys.executable, "-c", "from tmr.cli.main import main; main()", *arguments]


def environment(config: Path, **more: str) -> dict[str, str]:
    known = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return {**known, "TMR_CONFIG": str(config), "TZ": "UTC", **more}


@pytest.fixture
def tmr(config: Path) -> Tmr:
    """Runs the command to its end."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            env=environment(config, **more),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
