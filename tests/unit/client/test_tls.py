# SPDX-License-Identifier: Apache-2.0
"""Trust of a client: the chain, the address and the role of a server, and the revocation list."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.pki import VALID, System, make_system
from tests.support.serving import serving
from tests.unit.client.conftest import client_files
from tmr.client._tls import context
from tmr.client.config import TlsFiles
from tmr.net.tls import TlsFiles as ServerFiles

DAY = 86_400.0
HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"), "lab", addresses=(HERE,))


def shaken(files: TlsFiles, port: int, name: str = HERE) -> str:
    """What comes of a handshake: empty if the server is trusted, else why it is not."""
    raw = socket.create_connection((HERE, port), timeout=20)
    try:
        with context(files, "lab").wrap_socket(raw, server_hostname=name):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message if getattr(error, "verify_code", 0) else str(error.args[-1])


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("right", ""),
        ("network server", ""),
        ("other address", "IP address mismatch"),
        ("other name", "Hostname mismatch"),
        ("any name", "IP address mismatch"),
        ("client", "purpose"),
        ("operator", "purpose"),
        ("client as twin", "spiffe://lab/client/tmr1"),
        ("expired", "certificate has expired"),
        ("not yet valid", "certificate is not yet valid"),
        ("other system", "spiffe://mars/twin/tmr1"),
        ("no name", "its certificate says spiffe://lab/twin/,"),
        ("star", r"its certificate says spiffe://lab/twin/*,"),
        ("path", "its certificate says spiffe://lab/twin/tmr1/x,"),
        ("prefix", "its certificate says spiffe://lab/twins/tmr1,"),
        ("two", "spiffe://lab/twin/tmr1 and spiffe://lab/twin/tmr2"),
        ("none", "no SPIFFE identity"),
        ("other CA", "self-signed certificate in certificate chain"),
    ],
)
def test_a_false_server_is_sent_nothing(system: System, tmp_path: Path, case: str, words: str) -> None:
    def issue(
        *uris: str, addresses: tuple[str, ...] = (HERE,), valid: tuple[float, float] = VALID
    ) -> ServerFiles:
        return system.authority.issue(
            "twin",
            "tmr1",
            uris=uris or ["spiffe://lab/twin/tmr1"],
            stem="false",
            addresses=addresses,
            valid=valid,
        )

    made: dict[str, Callable[[], ServerFiles]] = {
        "right": lambda: system.twin("tmr1"),
        "network server": lambda: system.upstream("up1"),
        "other address": lambda: issue(addresses=("127.0.0.2",)),
        "other name": issue,
        "any name": lambda: system.authority.issue(
            "twin", "*", uris=["spiffe://lab/twin/tmr1"], addresses=()
        ),
        "client": lambda: system.client("alice"),
        "operator": lambda: system.operator("olga"),
        "client as twin": lambda: issue("spiffe://lab/client/tmr1"),
        "expired": lambda: issue(valid=(-2 * DAY, -60)),
        "not yet valid": lambda: issue(valid=(3600, DAY)),
        "other system": lambda: issue("spiffe://mars/twin/tmr1"),
        "no name": lambda: issue("spiffe://lab/twin/"),
        "star": lambda: issue("spiffe://lab/twin/*"),
        "path": lambda: issue("spiffe://lab/twin/tmr1/x"),
        "prefix": lambda: issue("spiffe://lab/twins/tmr1"),
        "two": lambda: issue("spiffe://lab/twin/tmr1", "spiffe://lab/twin/tmr2"),
        "none": lambda: system.authority.issue("twin", "tmr1", uris=[], stem="false", addresses=(HERE,)),
        "other CA": lambda: make_system(tmp_path, "lab", addresses=(HERE,)).twin("tmr1"),
    }
    with serving(made[case]()) as server:
        said = shaken(client_files(system), server.port, "licences.example" if case == "other name" else HERE)
    assert words in said
    assert bool(words) == bool(said), said
    assert server.asked == []
