# SPDX-License-Identifier: Apache-2.0
"""A twin with several addresses asks from the one that is configured, over each of its connections."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from testbed.pki import make_system
from tmr.net.tls import TlsFiles
from tmr.quorum.entries import ProposerId
from tmr.quorum.messages import Acquire
from tmr.rpc.messages import ReadContainer
from tmr.rpc.upstream_client import LinkError, UpstreamLink, contexts
from tmr.vip import lease_release
from tmr.vip.config import ReleaseConfig, Target

SOURCE = "127.0.0.9"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_system(tmp_path_factory.mktemp("pki")).twin("tmr1")


def seen(ask: Callable[[int], Awaitable[None]]) -> set[str]:
    """Addresses from which a peer is asked that hangs up at once."""

    async def run() -> set[str]:
        found: set[str] = set()

        async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.add(writer.get_extra_info("peername")[0])
            writer.close()

        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            await ask(server.sockets[0].getsockname()[1])
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("source", [SOURCE, None])
@pytest.mark.parametrize("message", [ReadContainer(), Acquire(1, ProposerId("tmr1", "x"), 2000, 0, 0)])
def test_upstreams_are_asked_from_it(files: TlsFiles, message: object, source: str | None) -> None:
    async def ask(port: int) -> None:
        link = UpstreamLink("up1", "127.0.0.1", port, contexts(files, "lab"), 60.0, source)
        with pytest.raises(LinkError):
            await link.call(message)  # type: ignore[call-overload]
        await link.close()

    assert seen(ask) == {source or "127.0.0.1"}


@pytest.mark.parametrize("source", [("fd00::1", SOURCE), ("fd00::1",)])
def test_a_lease_is_released_from_it(files: TlsFiles, source: tuple[str, ...]) -> None:
    async def ask(port: int) -> None:
        config = ReleaseConfig(
            (Target("127.0.0.1", port),),
            "/v1/lease/release",
            Path(files.certificate),
            Path(files.key),
            Path(files.ca),
            source=source,
        )
        await lease_release.send(config, lease_release.tls_context(config), b"release", lambda: False)

    assert seen(ask) == {SOURCE if SOURCE in source else "127.0.0.1"}


def test_an_address_that_the_machine_does_not_have_is_named(files: TlsFiles) -> None:
    async def run() -> None:
        link = UpstreamLink("up1", "127.0.0.1", 9, contexts(files, "lab"), 60.0, "192.0.2.1")
        for message in (ReadContainer(), Acquire(1, ProposerId("tmr1", "x"), 2000, 0, 0)):
            with pytest.raises(
                LinkError, match=r"does not have the address to ask from \(source in server.toml\)"
            ):
                await link.call(message)
        await link.close()

    asyncio.run(run())
