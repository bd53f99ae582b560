# SPDX-License-Identifier: Apache-2.0
"""The flood of a campaign, against a server of our own kind."""

import asyncio
import ssl

import pytest

from testbed.flood import KINDS, Flood, Kind
from testbed.pki import System, make_system
from tests.support.serving import Served, ask, connect, serving
from tests.support.tmr_system import until


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"), clients=("alice",))


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_until_it_is_told_to_end(system: System, kind: Kind) -> None:
    async def story(served: Served) -> Flood:
        files = system.client("alice")
        tls = ssl.create_default_context(cafile=files.ca)
        tls.check_hostname = False
        tls.load_cert_chain(files.certificate, files.key)
        flood = Flood("127.0.0.1", served.port, tls, kind)
        task = asyncio.create_task(flood.go_on())
        waited = {"heartbeats": "404", "slow-bodies": "404", "handshakes": "200", "strangers": "ended"}[kind]
        await until(lambda: flood.answers[waited] >= 10, f"{waited} is told")
        flood.stop()
        await task
        return flood

    with serving(system.upstream("up1")) as served:
        asyncio.run(story(served))
        with connect(served.port, system.client("alice")) as alice:
            assert ask(alice) == (200, b"client alice")
