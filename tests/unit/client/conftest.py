# SPDX-License-Identifier: Apache-2.0
"""Certificates, servers and a client configuration on loopback.

127.0.0.1 is the virtual address, 127.0.0.2 and 127.0.0.3 are the twins' own; all at one port.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.pki import System, make_system
from tests.unit.client.peer import Peer, State
from tmr.client import Config, TlsFiles

VIP, TWIN1, TWIN2 = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> System:
    addresses = (VIP, TWIN1, TWIN2, "::1")
    return make_system(tmp_path_factory.mktemp("pki"), addresses=addresses)


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def peer(pki: System, state: State) -> Iterator[Peer]:
    """The server behind the virtual address."""
    server = Peer(pki.twin("tmr1"), state, address=VIP).start()
    yield server
    server.stop()


@pytest.fixture
def config(pki: System, peer: Peer) -> Config:
    """A client that knows the virtual address only."""
    return client_config(pki, peer.port)


@pytest.fixture
def twins(pki: System, state: State, peer: Peer) -> Iterator[tuple[Peer, Peer]]:
    """The twins at their own addresses, at the same port."""
    one = Peer(pki.twin("tmr1"), state, address=TWIN1, port=peer.port, name="tmr1").start()
    two = Peer(pki.twin("tmr2"), state, address=TWIN2, port=peer.port, name="tmr2").start()
    yield one, two
    one.stop()
    two.stop()


@pytest.fixture
def config_twins(pki: System, peer: Peer) -> Config:
    """A client that knows the twins' own addresses as well."""
    return client_config(pki, peer.port, twins=(TWIN1, TWIN2))


def client_config(
    pki: System, port: int, *, servers: tuple[str, ...] = (VIP,), twins: tuple[str, ...] = ()
) -> Config:
    return Config(system=pki.name, servers=servers, twins=twins, port=port, tls=client_files(pki))


def client_files(pki: System, role: str = "client", name: str = "alice") -> TlsFiles:
    files = pki.files(role, name)
    return TlsFiles(certificate=Path(files.certificate), key=Path(files.key), ca=Path(files.ca))
