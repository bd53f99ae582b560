# SPDX-License-Identifier: Apache-2.0
"""Certificates renewed while the process runs, and peers that are not who they should be."""

import asyncio
import os
import shutil
import ssl
from pathlib import Path

import pytest

from testbed.pki import make_system
from tmr.net.renewal import Renewal
from tmr.net.tls import TlsFiles, client_context, server_context


async def serials(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[str, str]:
    """Serial numbers of the certificates that server and client present to one another."""
    seen: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(writer.get_extra_info("peercert")["serialNumber"])
        writer.write(b"x")
        writer.close()
        await writer.wait_closed()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=server)
    port = listening.sockets[0].getsockname()[1]
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=name)
        try:
            await reader.read()
            return writer.get_extra_info("peercert")["serialNumber"], await seen
        finally:
            writer.close()
            await writer.wait_closed()
    finally:
        listening.close()


def copy(source: TlsFiles, directory: Path, tick: int) -> TlsFiles:
    """The files under fixed names, as a renewal leaves them."""
    names = {}
    for key in ("certificate", "key", "ca"):
        names[key] = str(directory / f"used.{key}")
        shutil.copy(getattr(source, key), names[key])
        os.utime(names[key], (1_000_000 + tick, 1_000_000 + tick))
    return TlsFiles(**names)


def test_a_renewed_certificate_is_presented_to_new_connections(tmp_path: Path) -> None:
    system = make_system(tmp_path)
    used = copy(system.upstream("up1"), tmp_path, 0)
    server = server_context(used)
    client = client_context(system.twin("tmr1"), "lab", "upstream")
    renewal = Renewal(used, server)
    first = asyncio.run(serials(server, client, "up1"))
    assert renewal.check() is False
    copy(system.authority.issue("upstream", "up1", stem="renewed"), tmp_path, 1)
    assert renewal.check() is True
    second = asyncio.run(serials(server, client, "up1"))
    assert second[0] != first[0]
    assert second[1] == first[1]


def test_a_half_written_renewal_changes_nothing_and_is_tried_again(tmp_path: Path) -> None:
    system = make_system(tmp_path)
    used = copy(system.upstream("up1"), tmp_path, 0)
    server = server_context(used)
    client = client_context(system.twin("tmr1"), "lab", "upstream")
    renewal = Renewal(used, server)
    first = asyncio.run(serials(server, client, "up1"))
    renewed = system.authority.issue("upstream", "up1", stem="renewed")
    shutil.copy(renewed.certificate, used.certificate)  # the key still is the former one
    assert renewal.check() is False
    assert "cannot be used: KEY_VALUES_MISMATCH" in renewal.state.problem
    assert asyncio.run(serials(server, client, "up1")) == first
    shutil.copy(renewed.key, used.key)
    assert renewal.check() is True
    assert not renewal.state.problem
    assert asyncio.run(serials(server, client, "up1"))[0] != first[0]


@pytest.mark.parametrize(
    ("role", "name", "words"),
    [
        ("upstream", "up2", "certificate of upstream up1, expected upstream up2"),
        ("twin", "up1", "certificate of upstream up1, expected twin up1"),
    ],
)
def test_a_wrong_peer_is_sent_nothing(tmp_path: Path, role: str, name: str, words: str) -> None:
    system = make_system(tmp_path)

    async def run() -> bytes:
        received = bytearray()
        ended = asyncio.Event()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.extend(await reader.read(100))
            writer.close()
            ended.set()

        server = server_context(system.upstream("up1"))
        listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=server)
        port = listening.sockets[0].getsockname()[1]
        context = client_context(system.twin("tmr1"), "lab", role)  # type: ignore[arg-type]
        with pytest.raises(ssl.SSLCertVerificationError, match=words):
            await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        listening.close()
        return bytes(received)

    assert asyncio.run(run()) == b""


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    system = make_system(tmp_path)
    right = system.upstream("up1")
    assert right.problems() == []
    (problem,) = TlsFiles(right.certificate, system.twin("tmr1").key, right.ca).problems()
    assert problem.startswith("tls: ")
    (problem,) = TlsFiles(right.certificate, right.key, str(tmp_path / "none")).problems()
    assert problem == f"tls.ca = '{tmp_path / 'none'}' cannot be read: No such file or directory"
