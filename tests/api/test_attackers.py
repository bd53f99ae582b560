# SPDX-License-Identifier: Apache-2.0
"""Attacks on a daemon from the network: floods, smuggled requests, keys in foreign places."""

import contextlib
import json
import os
import resource
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from testbed.pki import System, make_system
from tests.api.test_network_process import activate, wish
from tests.api.test_upstream import client
from tests.support.matrix import refused_by_role
from tests.support.serving import answer, ask, connect, ended
from tests.support.upstream_process import UpstreamProcess
from tests.support.vendor import Vendor
from tmr.licensing import Licence
from tmr.quorum.entries import ProposerId
from tmr.quorum.messages import Acquire, encode
from tmr.rpc.messages import ReadContainer
from tmr.rpc.registry import BY_MESSAGE
from tmr.rpc.registry import encode as encoded

HALF_OPEN = 2000
LIMIT = 4096


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(
        tmp_path_factory.mktemp("pki"), upstreams=("lic1", "up1"), twins=("tmr1", "tmr2", "tmr3")
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, system: System) -> Iterator[UpstreamProcess]:
    """A network licence server with one licence of two seats, and as many open files as an upstream has."""
    made = UpstreamProcess(tmp_path_factory.mktemp("server"), system, "lic1", mode="network")
    made.crl = system.authority.crl()
    made.configure()
    try:
        made.start(open_files=LIMIT)
        activate(made, Vendor(), Licence(product_code=1, quantity=2))
        yield made
        assert made.stop() == 0
    finally:
        made.close()


# -- floods ------------------------------------------------------------------------------------------------


def resident(server: UpstreamProcess) -> int:
    """Bytes of memory that the process has."""
    assert server.process is not None
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def open_files(server: UpstreamProcess) -> int:
    assert server.process is not None
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < HALF_OPEN + 500,
    reason="too few open files for the attacker",
)
def test_thousands_of_half_open_connections_keep_nobody_out(server: UpstreamProcess, system: System) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, HALF_OPEN + 500), hard))
    before = resident(server)
    try:
        with contextlib.ExitStack() as stack:
            for number in range(HALF_OPEN):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
                if number % 2:
                    one.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
            with client(server, system.client("alice")) as alice:
                for number in range(3):
                    granted = alice.post(
                        "/v1/sessions", json=wish(1), headers={"Idempotency-Key": f"flooded-{number:04}"}
                    )
                    assert granted.status_code == 201, granted.text
                    assert alice.delete(f"/v1/sessions/{granted.json()['id']}").status_code == 204
            assert open_files(server) < LIMIT
            assert resident(server) - before < 200 * 2**20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with client(server, system.operator("olga")) as olga:
        text = olga.get("/metrics").text
    assert 'tmr_connections_refused_total{kind="crowded"}' in text
    assert 'event="connection refused"' in server.output() or "connection refused" in server.output()


# -- requests that two programs may understand differently -------------------------------------------------

HEAD = b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nIdempotency-Key: smuggled-0001\r\n"
BODY = b'{"firm_code": 6000010, "product_code": 1, "station": "cad-07"}'
LENGTH = f"Content-Length: {len(BODY)}\r\n".encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(
            HEAD + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED, id="length and chunked"
        ),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n" + CHUNKED, id="chunked and length"
        ),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKED, id="chunked is not last"
        ),
        pytest.param(
            HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKED, id="another coding before chunked"
        ),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
            id="chunked twice",
        ),
        pytest.param(
            HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
            id="chunked in HTTP/1.0",
        ),
        pytest.param(HEAD + LENGTH + b"Host: y\r\n\r\n" + BODY, id="two hosts"),
        pytest.param(HEAD.replace(b"Host: x\r\n", b"") + LENGTH + b"\r\n" + BODY, id="no host"),
        pytest.param(HEAD + LENGTH + b"idempotency-key: smuggled-0002\r\n\r\n" + BODY, id="two keys"),
        pytest.param(
            HEAD + LENGTH + b"Content-Type: text/plain\r\nContent-Type: a/b\r\n\r\n" + BODY, id="two types"
        ),
        pytest.param(b"GET /v1/sessions\r\n\r\n", id="HTTP/0.9"),
        pytest.param(HEAD.replace(b"HTTP/1.1", b"HTTP/0.9") + LENGTH + b"\r\n" + BODY, id="said 0.9"),
        pytest.param(HEAD.replace(b"HTTP/1.1", b"HTTP/2.0") + LENGTH + b"\r\n" + BODY, id="said 2.0"),
        pytest.param(HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKED, id="unknown coding"),
        pytest.param(HEAD + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED, id="space before the colon"),
        pytest.param(HEAD + LENGTH + b"Content-Length: 5\r\n\r\n" + BODY, id="two lengths"),
        pytest.param(HEAD + LENGTH + LENGTH + b"\r\n" + BODY, id="the same length twice"),
        pytest.param(HEAD + b"Content-Length: +62\r\n\r\n" + BODY, id="signed length"),
        pytest.param(HEAD + b"Content-Length: 0x3e\r\n\r\n" + BODY, id="hexadecimal length"),
        pytest.param(HEAD + b"Content-Length: 62, 62\r\n\r\n" + BODY, id="list of lengths"),
        pytest.param(
            HEAD + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY, id="length beyond 64 bits"
        ),
        pytest.param(HEAD + b"X: a\r\n folded\r\n" + LENGTH + b"\r\n" + BODY, id="folded header"),
        pytest.param(HEAD + b" Content-Length: 62\r\n\r\n" + BODY, id="header that begins with a space"),
        pytest.param(HEAD + b"X: a\x00b\r\n" + LENGTH + b"\r\n" + BODY, id="NUL in a header"),
        pytest.param(HEAD + b"X: a\rb\r\n" + LENGTH + b"\r\n" + BODY, id="bare CR in a header"),
        pytest.param(HEAD + b"X\x0by: a\r\n" + LENGTH + b"\r\n" + BODY, id="control character in a name"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"-1\r\n\r\n", id="negative chunk"),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"fffffffffffffffff\r\n", id="huge chunk"
        ),
        pytest.param(HEAD.replace(b"HTTP/1.1", b"HTTP/9.9") + LENGTH + b"\r\n" + BODY, id="version"),
        pytest.param(
            HEAD.replace(b"POST ", b"POST\t") + LENGTH + b"\r\n" + BODY, id="tab in the request line"
        ),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 preface"),
        pytest.param(b"CONNECT up1:22351 HTTP/1.1\r\nHost: x\r\n\r\n", id="CONNECT"),
        pytest.param(b"\x00" * 64, id="no HTTP"),
    ],
)
def test_an_ambiguous_request_is_refused_and_ends_the_connection(
    server: UpstreamProcess, system: System, request_: bytes
) -> None:
    with connect(server.port, system.client("alice")) as alice:
        alice.sendall(request_)
        status, told = answer(alice)
        problem = json.loads(told)
        assert status == problem["status"] in range(400, 500)
        assert problem["type"] == "urn:tmr:problem:bad-request"
        assert problem["remedy"]
        assert ended(alice)
    assert sessions(server, system) == []


def test_an_upstream_refuses_them_likewise(upstream: UpstreamProcess, system: System) -> None:
    for request_ in (b"\x00" * 64, b"GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"):
        with connect(upstream.port, system.operator("olga")) as olga:
            olga.sendall(request_)
            status, told = answer(olga)
            assert (status, json.loads(told)["type"]) == (400, "urn:tmr:problem:bad-request")
            assert ended(olga)


def test_what_is_no_request_is_not_answered_in_place_of_the_one_before(
    server: UpstreamProcess, system: System
) -> None:
    good, bad = (
        b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    )
    with connect(server.port, system.client("alice")) as alice:
        alice.sendall(good + bad)
        with contextlib.suppress(ConnectionError):
            assert answer(alice)[0] == 200
        assert ended(alice)


@pytest.mark.parametrize(
    "target",
    [
        "/v1/../v1/sessions",
        "/v1/sessions/..",
        "/./v1/sessions",
        "/v1/%2e%2e/v1/sessions",
        "/v1%2fsessions",
        "/v1%5csessions",
        "/v1/sessions%00",
        "/v1/sessions/%0d%0aX:y",
        "/v1/sessions/%ff",
        "//v1/sessions",
        "/v1//sessions",
        "/v1/sessions;x",
        "/V1/SESSIONS",
        "/v1/sessions/",
        "/v1/se\u017fsions",
        "/%EF%BD%96%31/sessions",
        "/v1/sessions/" + "a" * 20_000,
        "http://elsewhere/v2/sessions",
        "*",
        "v1/sessions",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_path_in_other_words_is_not_there(
    server: UpstreamProcess, system: System, target: str, method: str
) -> None:
    with connect(server.port, system.client("alice")) as alice:
        alice.sendall(
            f"{method} {target} HTTP/1.1\r\nHost: x\r\nIdempotency-Key: other-words\r\n".encode()
            + LENGTH
            + b"\r\n"
            + BODY
        )
        assert answer(alice)[0] in range(400, 500)
    assert sessions(server, system) == []


def test_an_absolute_uri_means_this_server(server: UpstreamProcess, system: System) -> None:
    """RFC 9112, section 3.2.2: a server accepts it. What it asks for is decided by path and certificate."""
    with connect(server.port, system.client("alice")) as alice:
        assert ask(alice, "https://elsewhere/v1/sessions")[0] == 200
        assert ask(alice, "https://elsewhere/v1/operator/switchover", method="POST")[0] == 403


@pytest.mark.parametrize(
    "name",
    [
        "\uff41lice",
        "a\u0308lice",
        "x" * 10_000,
        "\u202eecila",
        "a\u0000b",
        "a\nb",
        "../../etc/passwd",
        "\ud800",
    ],
)
def test_names_that_look_like_others(server: UpstreamProcess, system: System, name: str) -> None:
    """As a session's id or a container's serial they are nobody's; as a key they are refused."""
    with client(server, system.client("alice")) as alice:
        quoted = "".join(f"%{octet:02x}" for octet in name.encode("utf-8", "surrogatepass"))
        for path in (f"/v1/sessions/{quoted}x", f"/v1/containers/{quoted}x/items"):
            found = alice.request("DELETE" if "sessions" in path else "GET", path)
            assert found.status_code in (400, 404, 422), found.text
        with contextlib.suppress(UnicodeEncodeError, ValueError, httpx.HTTPError):
            keyed = alice.post("/v1/sessions", json=wish(1), headers={"Idempotency-Key": name})
            assert keyed.status_code in range(400, 500), keyed.text
    assert sessions(server, system) == []


def sessions(server: UpstreamProcess, system: System) -> list[Any]:
    with client(server, system.operator("olga")) as olga:
        found: list[Any] = olga.get("/v1/sessions").json()["sessions"]
    return found


# -- roles -------------------------------------------------------------------------------------------------


def test_every_route_has_its_roles(server: UpstreamProcess, system: System) -> None:
    people = {"client": "alice", "operator": "olga", "twin": "tmr1", "upstream": "up1"}
    with contextlib.ExitStack() as stack:
        peers = {
            role: stack.enter_context(client(server, system.files(role, name)))
            for role, name in people.items()
        }
        assert refused_by_role(peers) > 20
    assert sessions(server, system) == []


# -- a twin's key in a foreign place -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory, system: System) -> Iterator[UpstreamProcess]:
    made = UpstreamProcess(tmp_path_factory.mktemp("upstream"), system, "up1")
    made.settings = {"twins.tmr1": ["127.0.0.1", "::1"], "twins.tmr2": ["::ffff:127.0.0.2"]}
    made.configure()
    try:
        yield made.start()
    finally:
        made.close()


@pytest.mark.parametrize(
    ("twin", "source", "allowed"),
    [
        ("tmr1", "127.0.0.1", True),
        ("tmr1", "127.0.0.2", False),
        ("tmr1", "127.0.0.3", False),
        ("tmr2", "127.0.0.2", True),
        ("tmr2", "127.0.0.1", False),
        ("tmr3", "127.0.0.1", False),
    ],
)
def test_a_twins_key_is_of_use_at_its_place_alone(
    upstream: UpstreamProcess, system: System, twin: str, source: str, allowed: bool
) -> None:
    with connect(upstream.port, system.twin(twin), source=source) as one:
        status, told = ask(one, "/metrics")
        assert status == (200 if allowed else 403), told
        for message, body in ((ReadContainer, encoded(ReadContainer())), (Acquire, probe(twin))):
            one.sendall(
                b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                % (BY_MESSAGE[message].route.encode(), len(body), body)
            )
            assert answer(one)[0] == (200 if allowed else 403)
    if not allowed:
        assert f"The certificate of twin {twin} is used from {source}".encode() in told
        assert f"twin={twin} address={source}" in upstream.output()
    with connect(upstream.port, system.operator("olga")) as olga:
        text = ask(olga, "/metrics")[1].decode()
    (shown,) = [line for line in text.splitlines() if line.startswith("tmr_upstream_misplaced_total")]
    assert (float(shown.split()[1]) > 0) or allowed


def probe(twin: str) -> bytes:
    return encode(Acquire(1, ProposerId(twin, "x"), 1000, pre_vote=True))


def test_addresses_that_are_none_are_named(upstream: UpstreamProcess, tmp_path: Path, system: System) -> None:
    made = UpstreamProcess(tmp_path, system, "up1")
    made.settings = {"twins.tmr1": ["10.30.0.21/24"], "twins.tmr2": []}
    made.configure()
    done = made.command()
    assert done.returncode == 2
    assert "twins.tmr1 = ['10.30.0.21/24']" in done.stderr
    assert "twins.tmr2 is empty" in done.stderr


# -- revocation, as a daemon does it -------------------------------------------------------------------------


def test_a_running_daemon_takes_a_new_list(server: UpstreamProcess, system: System) -> None:
    lost = system.authority.issue("client", "lost", stem="lost")
    with connect(server.port, lost) as thief:
        assert ask(thief, "/v1/sessions")[0] == 200
        system.authority.crl(lost)
        assert ended(thief)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REVOKED"), connect(server.port, lost) as thief:
        ask(thief)
    assert 'reason="certificate revoked: client lost"' in server.output()
    with client(server, system.operator("olga")) as olga:
        assert 'tmr_certificate_seconds{file="crl"}' in olga.get("/metrics").text


def test_a_list_that_has_ended_stops_the_start_with_words(tmp_path: Path, system: System) -> None:
    made = UpstreamProcess(tmp_path, system, "up1")
    made.crl = system.authority.crl(stem="ended", valid=(-86_400, -60))
    made.configure()
    done = made.command()
    assert done.returncode == 2
    assert "tls.crl: the list ended at" in done.stderr
