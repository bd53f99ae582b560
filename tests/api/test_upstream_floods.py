# SPDX-License-Identifier: Apache-2.0
"""Floods against a real upstream: one peer, or strangers, keep the other twin from nothing."""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from testbed.pki import System, make_system
from tests.support.tmr_system import until
from tests.support.upstream_process import UpstreamProcess
from tmr.net import framing
from tmr.net.connection_limits import limits
from tmr.net.frame_server import AT_ONCE
from tmr.net.peer_requests import OF_PEER_MAX
from tmr.net.tls import client_context
from tmr.quorum.entries import ProposerId
from tmr.quorum.messages import NotVoting, Subscribe, Subscribed, encode
from tmr.rpc.upstream_client import UpstreamLink

OPEN_FILES = 1024
ADDRESS = "127.0.0.2"
"""Address of the flood; the twin that it is to keep out asks from 127.0.0.1."""
QUESTIONS = 20
PATIENCE = 60.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"), clients=("alice",))


@pytest.fixture
def upstream(tmp_path: Path, system: System) -> Iterator[UpstreamProcess]:
    made = UpstreamProcess(tmp_path, system, ttl=30.0)
    try:
        yield made.start(open_files=OPEN_FILES)
        assert made.stop() == 0
    finally:
        made.close()


class Flood:
    """Connections of one peer on each of which more frames are sent than may be open, without end."""

    def __init__(self, upstream: UpstreamProcess, system: System, twin: str) -> None:
        self._port = upstream.port
        self._tls = client_context(system.twin(twin), system.name, "upstream", framing.ALPN)
        self._question = encode(Subscribe(ProposerId(twin, "flood"), 0, 0, "?", -1))
        self.answers = Counter[int]()

    @contextlib.asynccontextmanager
    async def of(self, connections: int) -> AsyncIterator["Flood"]:
        opened = [await self._open() for _ in range(connections)]
        tasks = [asyncio.create_task(self._ask(writer)) for _, writer in opened]
        tasks += [asyncio.create_task(self._hear(reader)) for reader, _ in opened]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            for _, writer in opened:
                writer.transport.abort()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._tls, server_hostname="up1", local_addr=(ADDRESS, 0)
        )

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        while True:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:4]))
            self.answers[head[8]] += 1

    async def _ask(self, writer: asyncio.StreamWriter) -> None:
        burst = b"".join(framing.encode(number, self._question) for number in range(4 * AT_ONCE))
        while True:
            writer.write(burst)
            await writer.drain()


async def asked(link: UpstreamLink) -> None:
    """Whatever else goes on, the upstream answers, on the kept connection and on new ones."""
    for _ in range(QUESTIONS):
        reply = await link.call(Subscribe(ProposerId("tmr1", "honest"), 0, 0, "?", -1))
        assert isinstance(reply, Subscribed | NotVoting), reply
        await link.renew()


def limited(upstream: UpstreamProcess, system: System) -> dict[str, float]:
    """What the operator sees of it."""
    tls = client_context(system.files("operator", "olga"), system.name, "upstream")
    with httpx.Client(verify=tls, base_url=f"https://localhost:{upstream.port}", timeout=PATIENCE) as olga:
        text = olga.get("/metrics", extensions={"sni_hostname": "up1"}).raise_for_status().text
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


@pytest.mark.parametrize("twin", ["tmr2", "tmr1"])
def test_one_twins_flood_keeps_the_other_from_nothing(
    upstream: UpstreamProcess, system: System, twin: str
) -> None:
    """Also with a stolen certificate of the same name: shares are divided between addresses, too."""

    async def story() -> None:
        link = upstream.link("tmr1")
        async with asyncio.timeout(PATIENCE), Flood(upstream, system, twin).of(2) as flood:
            await until(lambda: flood.answers[framing.MESSAGE] > 500, "the flood is answered")
            before = flood.answers.total()
            await asked(link)
            assert flood.answers.total() > before
        await link.close()

    asyncio.run(story())


def test_requests_of_one_peer_are_bounded(upstream: UpstreamProcess, system: System) -> None:
    """With a metric; what is beyond is refused with an explanation, and the connections go on."""

    async def story() -> None:
        async with asyncio.timeout(PATIENCE), Flood(upstream, system, "tmr2").of(40) as flood:
            await until(lambda: flood.answers[framing.PROBLEM] > 100, "what is beyond is refused")

    assert OF_PEER_MAX < 40 * AT_ONCE
    asyncio.run(story())
    assert limited(upstream, system)['tmr_upstream_limited_total{role="twin"}'] > 100
    assert "Traceback" not in upstream.output()


def test_strangers_handshakes_keep_nobody_out(upstream: UpstreamProcess, system: System) -> None:
    """Silent ones, and many that show no certificate: one address has a part of the handshakes at a time."""
    most = limits(OPEN_FILES).of_address
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE

    async def silent() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", upstream.port, local_addr=(ADDRESS, 0))
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00")  # the first bytes of a ClientHello
        kept.append(writer)

    async def shaking() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", upstream.port, ssl=nobody, local_addr=("127.0.0.3", 0)
                )
                with contextlib.closing(writer):
                    await reader.read(1)
            handshakes.append(1)

    kept, handshakes, over = list[asyncio.StreamWriter](), list[int](), asyncio.Event()

    async def story() -> None:
        link = upstream.link("tmr1")
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(silent() for _ in range(most + 50)))
            tasks = [asyncio.create_task(shaking()) for _ in range(20)]
            await until(lambda: len(handshakes) > 50, "handshakes fail, again and again")
            await asked(link)
            metrics = await asyncio.to_thread(limited, upstream, system)
            over.set()
            await asyncio.gather(*tasks)
        assert metrics['tmr_connections_refused_total{kind="crowded"}'] >= 50
        assert metrics['tmr_connections{state="handshake"}'] <= limits(OPEN_FILES).pending
        for writer in kept:
            writer.close()
        await link.close()

    asyncio.run(story())
