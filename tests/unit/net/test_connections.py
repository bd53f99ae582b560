# SPDX-License-Identifier: Apache-2.0
"""Limits of connections and of their duration, against hostile peers."""

import asyncio
import contextlib
import os
import re
import resource
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from starlette.types import Message, Receive, Scope, Send

from testbed.pki import System, make_system
from tests.support.serving import Served, answer, ask, connect, ended, serving, until
from tmr.net import body, connection_limits, http_protocol, server
from tmr.net.connection_limits import ConnectionLimits, limits
from tmr.net.server import ShutdownMiddleware


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"), clients=("alice", "bob"))


@pytest.fixture
def small(system: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server with room for four handshakes and six connections, and little patience."""
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT", 0.5)
    monkeypatch.setattr(http_protocol, "BODY_TIMEOUT", 0.8)
    monkeypatch.setattr(body, "READ_TIMEOUT", 0.4)
    monkeypatch.setattr(connection_limits, "STALLED", 1.0)
    monkeypatch.setattr(server, "SHUTDOWN_TIMEOUT", 0.5)
    with serving(
        system.upstream("up1"), limits=ConnectionLimits(pending=4, inside=6, of_one=6, of_address=4)
    ) as served:
        yield served


def silent(port: int, sent: bytes = b"") -> socket.socket:
    """A connection that begins no handshake, or does not go on with it."""
    made = socket.create_connection(("127.0.0.1", port), timeout=20)
    made.sendall(sent)
    return made


def test_handshakes_that_never_end_keep_nobody_out(small: Served, system: System) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00"  # the first bytes of a ClientHello of 512 bytes
    strangers = [silent(small.port, hello if number % 2 else b"") for number in range(20)]
    with connect(small.port, system.client("alice")) as alice:
        assert ask(alice) == (200, b"client alice")
    assert small.refused("crowded") >= 16
    for one in strangers[:16]:
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(1) == b"", "the oldest had to go"
    for one in strangers:
        one.close()


def test_a_handshake_has_its_time(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_TIMEOUT", 0.3)
    with serving(system.upstream("up1")) as served, silent(served.port) as stranger:
        assert stranger.recv(1) == b""
        until(lambda: served.refused("slow") == 1, "it is counted")
        with connect(served.port, system.client("alice")) as alice:
            assert ask(alice)[0] == 200


def test_the_greedy_makes_room_for_others(small: Served, system: System) -> None:
    greedy = [connect(small.port, system.client("alice")) for _ in range(6)]
    for one in greedy[1:]:
        assert ask(one)[0] == 200
    with connect(small.port, system.client("bob")) as bob:
        assert ask(bob) == (200, b"client bob")
        assert ended(greedy[0]), "the one that rested longest had to go"
        assert [ask(one)[0] for one in greedy[1:]] == [200] * 5
        with connect(small.port, system.client("alice")) as another:
            assert ask(another)[0] == 200, "among one's own, the one that rested longest goes, too"
            assert ended(greedy[1])
            assert ask(bob)[0] == 200
    for one in greedy:
        one.close()


def test_who_takes_all_with_requests_is_not_given_more(small: Served, system: System) -> None:
    greedy = [connect(small.port, system.client("alice")) for _ in range(6)]
    for one in greedy:
        one.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    until(lambda: len(small.asked) == len(greedy), "all are being worked on")
    with connect(small.port, system.client("alice")) as another:
        assert ended(another)
    with connect(small.port, system.client("bob")) as bob:
        assert ask(bob) == (200, b"client bob")
    for one in greedy:
        one.close()


def test_one_peer_never_has_all(system: System) -> None:
    """There is room for others without anybody being sent away."""
    with serving(
        system.upstream("up1"), limits=ConnectionLimits(pending=4, inside=6, of_one=3, of_address=4)
    ) as served:
        greedy = [connect(served.port, system.client("alice")) for _ in range(3)]
        assert all(ask(one)[0] == 200 for one in greedy)
        with (
            connect(served.port, system.client("alice")) as another,
            connect(served.port, system.client("bob")) as bob,
        ):
            assert ask(another) == (200, b"client alice")
            assert ended(greedy[0]), "among one's own, the one that rested longest goes"
            assert ask(bob) == (200, b"client bob")
            assert all(ask(one)[0] == 200 for one in greedy[1:])
        for one in greedy:
            one.close()


def test_many_connections_of_one_peer_are_all_answered(system: System) -> None:
    """Also those whose bodies come in pieces, again and again on the same connections."""
    body = bytes(100_000)
    head = b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with serving(system.upstream("up1")) as served, contextlib.ExitStack() as stack:
        many = [stack.enter_context(connect(served.port, system.client("alice"))) for _ in range(24)]
        for _ in range(3):
            for one in many:
                one.sendall(head + body[:50_000])
            with connect(served.port, system.client("bob")) as bob:
                assert ask(bob) == (200, b"client bob")
            for one in many:
                one.sendall(body[50_000:])
            for one in many:
                assert answer(one) == (200, b"100000")
        assert ask(many[0]) == (200, b"client alice")


def test_one_address_has_a_part_of_the_handshakes(system: System) -> None:
    with serving(
        system.upstream("up1"), limits=ConnectionLimits(pending=40, inside=6, of_one=6, of_address=3)
    ) as served:
        other = socket.create_connection(("127.0.0.1", served.port), 20, source_address=("127.0.0.9", 0))
        strangers = [silent(served.port) for _ in range(10)]
        until(lambda: served.refused("crowded") == 7, "those that waited longest had to go")
        assert served.connections("handshake") == 4
        for one in strangers[:7]:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1) == b""
        with connect(served.port, system.client("alice")) as alice:
            assert ask(alice) == (200, b"client alice")
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
        for one in (other, *strangers):
            one.close()


HEAD = b"POST /read HTTP/1.1\r\nHost: x\r\n"
SLOW = {
    "idle": b"",
    "slow-head": b"GET /name HTTP/1.1\r\nX: y",
    "huge-head": b"GET /name HTTP/1.1\r\nX: " + b"y" * 31_000,
    "slow-body": HEAD + b"Content-Length: 1000\r\n\r\nabc",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 500,
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW)
def test_many_that_are_not_done_keep_nobody_waiting(system: System, sent: bytes) -> None:
    """A hundred connections of one peer, at one address: another peer is answered at once, and again."""
    with serving(system.upstream("up1")) as served, contextlib.ExitStack() as stack:
        alice = system.client("alice")
        many = [stack.enter_context(connect(served.port, alice, source="127.0.0.9")) for _ in range(100)]
        for one in many:
            one.sendall(sent)
        until(lambda: served.connections("open") == 100, "all have been let in")
        for _ in range(3):
            with connect(served.port, system.client("bob")) as bob:
                for _ in range(5):
                    assert ask(bob) == (200, b"client bob")


def test_what_comes_byte_by_byte_is_cut_off(small: Served, system: System) -> None:
    with connect(small.port, system.client("alice")) as head:
        assert not trickled(head, b"GET /name HTTP/1.1\r\nX: " + b"y" * 1000)
    with connect(small.port, system.client("alice")) as slow:
        slow.sendall(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        status, said = answer(slow)
        assert (status, b"did not arrive within" in said) == (408, True)
        assert ended(slow)
    with connect(small.port, system.client("alice")) as unread:
        unread.sendall(b"GET /name HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert answer(unread)[0] == 200
        assert not trickled(unread, b"1\r\nx\r\n" * 1000), "a body that nobody reads has an end, too"


def trickled(to: ssl.SSLSocket, text: bytes) -> bool:
    """Send byte by byte; False: the other end did not bear it."""
    to.settimeout(0.02)
    for number in range(len(text)):
        try:
            to.sendall(text[number : number + 1])
            if to.recv(1000) == b"":
                return False
        except TimeoutError:
            continue
        except (ssl.SSLError, ConnectionError):
            return False
    return True


def test_a_body_without_end_is_refused(small: Served, system: System) -> None:
    with connect(small.port, system.client("alice")) as alice:
        alice.sendall(b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        for _ in range(20):
            alice.sendall(chunk)
        assert answer(alice)[0] == 413
        assert ended(alice)


def test_who_never_reads_is_dropped(small: Served, system: System) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    files = system.client("alice")
    context.load_verify_locations(files.ca)
    context.load_cert_chain(files.certificate, files.key)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(20)
    raw.connect(("127.0.0.1", small.port))
    with context.wrap_socket(raw) as deaf:
        deaf.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: "/large" in small.asked and not small.connections("open"), "its connection ends")


def test_a_fault_of_the_server_is_answered_with_a_problem(system: System) -> None:
    with serving(system.upstream("up1")) as served:
        with connect(served.port, system.client("alice")) as alice:
            alice.sendall(b"GET /fault HTTP/1.1\r\nHost: x\r\n\r\n")
            told = b""
            while more := alice.recv(65536):
                told += more
        head, _, document = told.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 500 ")
        assert b"content-type: application/problem+json" in head.lower()
        assert msgspec.json.decode(document)["type"] == "urn:tmr:problem:internal-error"
        with connect(served.port, system.client("alice")) as alice:
            assert ask(alice) == (200, b"client alice")


@pytest.mark.parametrize("fault", [RuntimeError("a fault"), None])
def test_a_fault_before_the_framework_is_answered_alike(fault: Exception | None) -> None:
    """Raised where no handler of the framework is, or no answer at all."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if fault is not None:
            raise fault

    async def story() -> None:
        sent = list[Message]()

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        await ShutdownMiddleware(app)({"type": "http", "path": "/"}, receive, send)
        start, body = sent
        assert (start["status"], dict(start["headers"])[b"content-type"]) == (
            500,
            b"application/problem+json",
        )
        assert msgspec.json.decode(body["body"])["status"] == 500

    asyncio.run(story())


def test_a_queue_of_requests_without_end_is_cut_off(small: Served, system: System) -> None:
    with connect(small.port, system.client("alice")) as alice:
        alice.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        assert ended(alice)
    assert small.asked.count("/wait") <= 1


def test_empty_lines_do_not_make_a_connection_immortal(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "KEEP_ALIVE", 1)
    with serving(system.upstream("up1")) as served, connect(served.port, system.client("alice")) as alice:
        alice.sendall(b"\r\n")
        assert ended(alice)
    assert served.asked == []


def test_a_peer_that_does_not_end_its_side_is_cut_off_when_the_server_ends(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "GRACE", 1)
    with serving(system.upstream("up1")) as served:
        one = connect(served.port, system.client("alice"))  # it reads nothing, so it answers no close_notify
        assert ask(one)[0] == 200
    assert ended(one), "the server has told it the end"
    with socket.socket(fileno=one.detach()) as below, contextlib.suppress(ConnectionError):
        assert below.recv(1) == b"", "and has closed the socket, too"


def test_a_peer_that_resets_at_once_harms_nobody(small: Served, system: System) -> None:
    for _ in range(20):
        one = silent(small.port)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
    with connect(small.port, system.client("alice")) as alice:
        assert ask(alice)[0] == 200


@pytest.mark.parametrize("files", [16, 64, 1024, 4096, 65_536])
def test_connections_are_fewer_than_open_files(files: int) -> None:
    found = limits(files)
    assert found.pending >= 4
    assert found.inside + found.pending <= files
    assert files < 1024 or found.inside + found.pending <= files - 256
    assert found.inside + found.pending <= connection_limits.MOST


@pytest.mark.parametrize(
    ("unit", "connections"),
    [("tmr_upstream/templates/tmr-upstream", [7000, 2000]), ("tmr_server/templates/tmr-server", [7000])],
)
def test_the_units_leave_room_for_a_factory(unit: str, connections: list[int]) -> None:
    """Of an upstream: as a network licence server, then for the twins."""
    text = (Path(__file__).parents[3] / "roles" / f"{unit}.service.j2").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("LimitNOFILE=")]
    files = [int(number) for number in re.findall(r"\d{4,}", line)]
    assert [limits(one).inside > least for one, least in zip(files, connections, strict=True)] == [
        True
    ] * len(files)


def test_without_a_file_descriptor_it_waits_and_goes_on(small: Served, system: System) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as raw:
        lowest = os.dup(raw.fileno())
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            raw.settimeout(20)
            raw.connect(("127.0.0.1", small.port))
            until(lambda: small.refused("exhausted") > 1, "it tries again")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        files = system.client("alice")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(files.ca)
        context.load_cert_chain(files.certificate, files.key)
        with context.wrap_socket(raw) as alice:
            assert ask(alice) == (200, b"client alice")


def test_who_still_waits_when_the_server_ends_is_told_so(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "GRACE", 0.1)
    with serving(system.upstream("up1")) as stopped:
        waiting = connect(stopped.port, system.client("alice"))
        waiting.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: stopped.asked == ["/wait"], "the request is being answered")
    with waiting:
        status, body = answer(waiting)
    assert (status, msgspec.json.decode(body)["type"]) == (503, "urn:tmr:problem:not-active")
