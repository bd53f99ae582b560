# SPDX-License-Identifier: Apache-2.0
"""Frames: any bytes in any pieces, and connections of who is honest, slow, large, revoked or strange."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.pki import System, make_system
from tests.support.serving import Served, ended, serving, until
from tmr.net import frame_server, framing, server
from tmr.net.frame_client import FrameLink, PeerRefused
from tmr.net.frame_server import AT_ONCE, LIMIT
from tmr.net.tls import TlsFiles, client_context

PATIENCE = 30.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"), clients=("alice",))


@pytest.fixture(scope="module")
def served(system: System) -> Iterator[Served]:
    with serving(system.upstream("up1"), frames=True) as made:
        yield made


def told(served: Served, files: TlsFiles, story: Callable[[FrameLink], Awaitable[None]]) -> None:
    """Run `story` with a link of the one with these files."""

    @asynccontextmanager
    async def link() -> AsyncIterator[FrameLink]:
        tls = client_context(files, "lab", "upstream", framing.ALPN)
        made = FrameLink("up1", "127.0.0.1", served.port, tls)
        try:
            yield made
        finally:
            await made.close()

    async def run() -> None:
        async with link() as made:
            await story(made)

    asyncio.run(run())


def raw(served: Served, files: TlsFiles, spoken: str = framing.ALPN) -> ssl.SSLSocket:
    """A connection on which anything can be sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(files.ca)
    context.set_alpn_protocols([spoken])
    return context.wrap_socket(socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE))


# -- bytes -------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=60), st.integers(0, 255)), max_size=8),
    st.lists(st.integers(1, 30), min_size=1, max_size=60),
)
def test_frames_come_whole_from_any_pieces(sent: list[tuple[int, bytes, int]], sizes: list[int]) -> None:
    stream = b"".join(framing.encode(*one) for one in sent)
    reader, got, at, turn = framing.Frames(60), list[framing.Frame](), 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        got += reader.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert [(one.number, one.body, one.kind) for one in got] == sent
    assert not reader.within


def test_a_frame_too_large_is_refused_by_its_head() -> None:
    reader = framing.Frames(10)
    assert [one.body for one in reader.feed(framing.encode(1, b"0123456789"))] == [b"0123456789"]
    with pytest.raises(framing.TooLarge, match="a message of 11 bytes; at most 10"):
        list(reader.feed(struct.pack("!IIB", 11, 2, 0)))


# -- connections -------------------------------------------------------------------------------------------


def test_answers_come_in_any_order(served: Served, system: System) -> None:
    async def story(link: FrameLink) -> None:
        late = asyncio.ensure_future(link.ask(b"later", PATIENCE))
        for number in range(20):
            body = b"%d" % number
            assert await link.ask(body, PATIENCE) == b"twin tmr1 from 127.0.0.1: " + body
        assert not late.done()
        assert await link.ask(b"now", PATIENCE) == b"twin tmr1 from 127.0.0.1: now"
        assert await late == b"twin tmr1 from 127.0.0.1: later"

    told(served, system.twin("tmr1"), story)


def test_more_questions_than_are_taken_at_once_are_answered_all(served: Served, system: System) -> None:
    async def story(link: FrameLink) -> None:
        bodies = [b"%d" % number * 2000 for number in range(5 * AT_ONCE)]
        answers = await asyncio.gather(*(link.ask(body, PATIENCE) for body in bodies))
        assert [answer.partition(b": ")[2] for answer in answers] == bodies

    told(served, system.twin("tmr1"), story)


def test_a_refusal_is_a_problem_document_and_the_connection_goes_on(served: Served, system: System) -> None:
    async def story(link: FrameLink) -> None:
        with pytest.raises(PeerRefused, match="never that") as caught:
            await link.ask(b"bad", PATIENCE)
        assert caught.value.problem.status == 422
        assert await link.ask(b"good", PATIENCE) == b"twin tmr1 from 127.0.0.1: good"

    told(served, system.twin("tmr1"), story)


def test_an_answer_that_does_not_come_ends_the_connection(served: Served, system: System) -> None:
    async def story(link: FrameLink) -> None:
        with pytest.raises(TimeoutError):
            await link.ask(b"never", 0.05)
        assert await link.ask(b"anew", PATIENCE) == b"twin tmr1 from 127.0.0.1: anew"

    told(served, system.twin("tmr1"), story)


def test_who_speaks_http_alone_is_told_so(system: System) -> None:
    with serving(system.upstream("up1")) as http:

        async def story(link: FrameLink) -> None:
            with pytest.raises(ValueError, match="does not speak tmr-frames/1"):
                await link.ask(b"x", PATIENCE)

        told(http, system.twin("tmr1"), story)


def test_an_unknown_peer_is_not_answered(served: Served, system: System) -> None:
    odd = system.authority.issue("client", "alice", uris=["spiffe://mars/client/alice"], stem="odd")
    before = served.refused("identity")
    with raw(served, odd) as connection:
        assert ended(connection)
    assert served.refused("identity") == before + 1


def test_a_message_too_large_ends_the_connection(served: Served, system: System) -> None:
    with raw(served, system.twin("tmr1")) as connection:
        connection.sendall(struct.pack("!IIB", LIMIT + 1, 1, framing.MESSAGE))
        assert ended(connection)


def test_a_message_that_stops_half_way_ends_the_connection(
    served: Served, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_server, "READ_TIMEOUT", 0.2)
    with raw(served, system.twin("tmr1")) as connection:
        connection.sendall(
            framing.encode(1, b"whole") + struct.pack("!IIB", 100, 2, framing.MESSAGE) + b"half"
        )
        assert ended(connection)


def test_a_message_that_trickles_ends_the_connection(
    served: Served, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_server, "READ_TIMEOUT", 0.3)
    with raw(served, system.twin("tmr1")) as connection:
        connection.sendall(struct.pack("!IIB", 1_000_000, 1, framing.MESSAGE))
        gone = False

        def trickle() -> bool:
            nonlocal gone
            try:
                connection.sendall(b"x")
            except OSError:
                gone = True
            return gone

        until(trickle, "each byte must not begin the patience anew")


def test_an_idle_connection_is_closed(
    served: Served, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_server, "IDLE", 0.1)
    with raw(served, system.twin("tmr1")) as connection:
        assert ended(connection)


def test_a_revoked_twin_is_turned_out(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "RENEWAL_CHECK", 0.0)
    crl = system.authority.crl(stem="frames")
    files = msgspec.structs.replace(system.upstream("up1"), crl=str(crl))
    twin = system.twin("tmr1")
    with serving(files, frames=True) as made, raw(made, twin) as connection:
        connection.sendall(framing.encode(1, b"x"))
        assert connection.recv(1)
        system.authority.crl(twin, stem="frames")
        assert ended(connection)
        assert made.refused("certificate") >= 1


def test_what_was_asked_before_the_end_is_answered(system: System) -> None:
    with serving(system.upstream("up1"), frames=True) as made:
        connection = raw(made, system.twin("tmr1"))
        connection.sendall(framing.encode(1, b"later"))
        until(lambda: "later" in made.asked, "the question has come")
    reader, got = framing.Frames(1000), list[framing.Frame]()
    with connection:
        while part := connection.recv(1000):
            got += reader.feed(part)
    assert [one.body for one in got] == [b"twin tmr1 from 127.0.0.1: later"]
