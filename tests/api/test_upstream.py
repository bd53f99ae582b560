# SPDX-License-Identifier: Apache-2.0
"""The upstream's API over real sockets and real TLS: who is answered, and with what."""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest

from testbed.pki import System, make_system
from tests.support.upstream_process import ACT_ID, UpstreamProcess
from tests.support.vendor import FIRM, Vendor
from tmr.licensing import Licence, open_statement
from tmr.net.tls import TlsFiles
from tmr.quorum.entries import Membership, ProposerId
from tmr.quorum.messages import (
    Acquire,
    Bootstrap,
    Bootstrapped,
    Busy,
    NotVoting,
    Promise,
    Release,
    Subscribe,
    Subscribed,
    encode,
)
from tmr.rpc import registry
from tmr.rpc.messages import ReadContainer
from tmr.rpc.registry import BY_MESSAGE, RPCS
from tmr.rpc.upstream_client import LinkError, UpstreamLink, contexts
from tmr.runtime.clock_sync import synchronised
from tmr.upstream.config import DISK_RESERVE_MAX

A, B = ProposerId("tmr1", "a"), ProposerId("tmr2", "b")
T = TypeVar("T")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory, system: System) -> Iterator[UpstreamProcess]:
    """One that was founded and that nobody holds a lease of, for the tests that leave it so."""
    made = UpstreamProcess(tmp_path_factory.mktemp("upstream"), system, ttl=30.0)
    try:
        yield made.start()
        assert made.stop() == 0
        assert not made.socket.exists()
    finally:
        made.close()


def trusting(files: TlsFiles, *, certificate: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.ca)
    context.check_hostname = False
    if certificate:
        context.load_cert_chain(files.certificate, files.key)
    return context


def client(upstream: UpstreamProcess, files: TlsFiles) -> httpx.Client:
    return httpx.Client(verify=trusting(files), base_url=f"https://127.0.0.1:{upstream.port}", timeout=20)


def linked(upstream: UpstreamProcess, work: Callable[..., Awaitable[T]], *twins: str) -> T:
    """Run `work` with a link of each twin."""

    async def run() -> T:
        links = [upstream.link(twin) for twin in twins or ("tmr1",)]
        try:
            async with asyncio.timeout(60):
                return await work(*links)
        finally:
            for link in links:
                await link.close()

    return asyncio.run(run())


ACQUIRE = BY_MESSAGE[Acquire].route


async def founded(link: UpstreamLink) -> None:
    """The upstream belongs to a system of three from now on."""
    joining = await link.call(Acquire(1, A, 1000, pre_vote=True))
    if isinstance(joining, NotVoting):
        found = Bootstrap(A, Membership((joining.state.replica_id, "d2", "d3")))
        assert isinstance(await link.call(found), Bootstrapped)


async def next_epoch(link: UpstreamLink) -> int:
    reply = await link.call(Subscribe(ProposerId("tmr1", "look"), 0, 0, "?", -1))
    return reply.state.promised + 1


# -- who is answered ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [rpc.route for rpc in RPCS])
@pytest.mark.parametrize("role", ["client", "operator", "upstream"])
def test_quorum_messages_are_the_twins_alone(
    upstream: UpstreamProcess, system: System, path: str, role: str
) -> None:
    name = {"client": "alice", "operator": "olga", "upstream": "up2"}[role]
    with client(upstream, system.files(role, name)) as http:
        answer = http.post(path, content=encode(Acquire(9, A, 1000)))
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:tmr:problem:wrong-role"
    assert problem["detail"] == f"This needs the role twin; your certificate is of {role} {name}."


def test_a_licence_with_a_tmr_id_is_refused_outside_its_system(
    upstream: UpstreamProcess, system: System
) -> None:
    with client(upstream, system.client("alice")) as http:
        answer = http.post("/v1/sessions", json={"firm_code": FIRM, "product_code": 1})
        container = http.post("/v1/container", content=registry.encode(ReadContainer()))
    assert answer.status_code == 403
    problem = answer.json()
    assert problem["type"] == "urn:tmr:problem:tmr-id-outside-tmr"
    assert "no single server may grant" in problem["detail"]
    assert problem["remedy"] == "Ask the TMR servers at their virtual address."
    assert container.status_code == 403


def test_a_twin_speaks_for_itself_only(upstream: UpstreamProcess, system: System) -> None:
    with client(upstream, system.twin("tmr1")) as http:
        answer = http.post(BY_MESSAGE[Release].route, content=encode(Release(1, B)))
    assert answer.status_code == 403
    assert "speaks for 'tmr2', the certificate is of twin tmr1" in answer.json()["detail"]


def test_administration_is_not_on_the_network(upstream: UpstreamProcess, system: System) -> None:
    local = system.authority.issue("operator", "local")
    with client(upstream, local) as http:
        for method, path in (("GET", f"/v1/requests/{FIRM}"), ("POST", "/v1/updates"), ("GET", "/v1/status")):
            answer = http.request(method, path)
            assert answer.status_code == 403, path
            assert "administration socket" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("uris", "words"),
    [
        ([], "0 URI names"),
        (["spiffe://lab/twin/tmr1", "spiffe://lab/twin/tmr2"], "2 URI names"),
        (["spiffe://factory/twin/tmr1"], "of the system 'factory', not of 'lab'"),
        (["spiffe://lab/king/tmr1"], "unknown role 'king'"),
        (["https://lab/twin/tmr1"], "is not spiffe://SYSTEM/ROLE/NAME"),
        (["spiffe://lab/twin/tmr1/more"], "is not spiffe://SYSTEM/ROLE/NAME"),
    ],
)
def test_a_certificate_that_does_not_say_who_is_refused(
    upstream: UpstreamProcess, system: System, uris: list[str], words: str
) -> None:
    files = system.authority.issue("twin", "tmr1", uris=uris, stem="odd")
    with client(upstream, files) as http:
        answer = http.post("/v1/container", content=registry.encode(ReadContainer()))
    assert answer.status_code == 403
    assert words in answer.json()["detail"]


def test_no_connection_without_a_certificate_of_the_system(
    upstream: UpstreamProcess, system: System, tmp_path: Path
) -> None:
    stranger = make_system(tmp_path).twin("tmr1")
    contexts = {
        "none": trusting(system.twin("tmr1"), certificate=False),
        "stranger": trusting(TlsFiles(stranger.certificate, stranger.key, system.twin("tmr1").ca)),
    }
    for who, context in contexts.items():
        with (
            pytest.raises(httpx.TransportError),
            httpx.Client(verify=context, base_url=f"https://127.0.0.1:{upstream.port}") as http,
        ):
            pytest.fail(f"{who}: {http.get('/v1/container')}")
    with socket.create_connection(("127.0.0.1", upstream.port)) as raw:
        raw.sendall(b"GET /v1/container HTTP/1.1\r\nHost: x\r\n\r\n")
        raw.settimeout(20)
        assert not raw.recv(100).startswith(b"HTTP/1.1 200")


def test_metrics_are_for_monitoring_too(upstream: UpstreamProcess, system: System) -> None:
    with client(upstream, system.client("alice")) as http:
        assert http.post("/v1/lease/acquire", content=b"").status_code == 403
    for role, name, status in (
        ("twin", "tmr1", 200),
        ("operator", "olga", 200),
        ("client", "alice", 200),
        ("upstream", "up2", 403),
    ):
        with client(upstream, system.files(role, name)) as http:
            assert http.get("/metrics").status_code == status
    with client(upstream, system.twin("tmr1")) as http:
        text = http.get("/metrics").text
    assert "tmr_upstream_sync_seconds_bucket" in text
    assert 'tmr_upstream_refused_total{role="client"}' in text


def test_a_disk_that_fills_up_is_told_before_a_write_fails(tmp_path: Path, system: System) -> None:
    """No disk here has as much free as this reserve: it is short from the start, and works all the same."""

    async def work(link: UpstreamLink) -> bool:
        return (await link.call(Acquire(1, A, 1000, pre_vote=True))).state.short

    made = UpstreamProcess(tmp_path, system)
    try:
        made.configure(disk_reserve=DISK_RESERVE_MAX)
        made.start()
        status = json.loads(made.command("status", "--json").stdout)
        assert any("the disk is nearly full" in alarm for alarm in status["alarms"])
        assert status["free_bytes"] > 0
        assert linked(made, work)
        with client(made, system.twin("tmr1")) as http:
            assert "tmr_upstream_disk_free_bytes" in http.get("/metrics").text
    finally:
        made.close()


@pytest.mark.parametrize("demanded", [True, False])
def test_a_clock_that_no_time_source_keeps_is_told_and_an_alarm_where_one_should(
    tmp_path: Path, system: System, demanded: bool
) -> None:
    """Whatever the clock of this machine is."""

    async def work(link: UpstreamLink) -> tuple[bool | None, bool]:
        member = (await link.call(Acquire(1, A, 1000, pre_vote=True))).state
        return member.clock_synchronised, member.clock_alarm

    kept = synchronised()
    made = UpstreamProcess(tmp_path, system)
    try:
        made.configure(clock_sync=demanded)
        made.start()
        status = json.loads(made.command("status", "--json").stdout)
        assert status["clock_synchronised"] is kept
        alarms = [alarm for alarm in status["alarms"] if "time source" in alarm]
        assert len(alarms) == (demanded and not kept)
        assert linked(made, work) == (kept, demanded and not kept)
        with client(made, system.twin("tmr1")) as http:
            shown = "NaN" if kept is None else f"{float(kept)}"
            assert f"tmr_upstream_clock_synchronised {shown}" in http.get("/metrics").text
    finally:
        made.close()


# -- bad input ---------------------------------------------------------------------------------------------


def test_bad_input_gets_a_clear_error_and_changes_nothing(upstream: UpstreamProcess, system: System) -> None:
    before = upstream.command("status", "--json").stdout
    with client(upstream, system.twin("tmr1")) as http:
        cases: list[tuple[str, bytes, int, str]] = [
            (ACQUIRE, b"", 422, "no message in msgpack"),
            (ACQUIRE, b"\xc1", 422, "no message in msgpack"),
            (
                ACQUIRE,
                msgspec.msgpack.encode({"type": "king"}),
                422,
                "no message in msgpack",
            ),
            (ACQUIRE, encode(Release(1, A)), 422, "'release' does not belong here"),
            (ACQUIRE, b"\0" * (8 * 2**20 + 1), 413, "larger than 8388608 bytes"),
        ]
        for path, body, status, words in cases:
            answer = http.post(path, content=body)
            assert answer.status_code == status
            assert words in answer.json()["detail"]
            assert answer.json()["remedy"]

        def endless() -> Iterator[bytes]:
            for _ in range(140):
                yield b"\0" * 65_536

        assert http.post(ACQUIRE, content=endless()).status_code == 413
        assert http.get(ACQUIRE).status_code == 405
        missing = http.get("/v1/nothing")
        assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    after = upstream.command("status", "--json").stdout
    assert _durable(after) == _durable(before)


def _durable(status: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(status)
    return {
        key: found[key] for key in ("replica_id", "voting", "promised", "last_index", "generation", "syncs")
    }


def test_slow_and_huge_heads_are_cut_off(upstream: UpstreamProcess, system: System) -> None:
    context = trusting(system.twin("tmr1"))
    with socket.create_connection(("127.0.0.1", upstream.port)) as raw, context.wrap_socket(raw) as tls:
        tls.settimeout(20)
        # No more than it takes to be too much: it closes at once, and more would cost us the answer.
        tls.sendall(b"GET /v1/container HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 32 * 1024)
        assert tls.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection(("127.0.0.1", upstream.port)) as raw, context.wrap_socket(raw) as tls:
        tls.settimeout(20)
        tls.sendall(b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert tls.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection(("127.0.0.1", upstream.port)) as raw, context.wrap_socket(raw) as tls:
        tls.settimeout(20)
        started = time.monotonic()
        tls.sendall(b"GET /v1/container HTTP/1.1\r\nHost:")
        assert tls.recv(100) == b""
        assert time.monotonic() - started > 3


# -- what a twin sees --------------------------------------------------------------------------------------


def test_follow_wakes_at_once_on_release(upstream: UpstreamProcess) -> None:
    async def story(one: UpstreamLink, two: UpstreamLink) -> float:
        await founded(one)
        epoch = await next_epoch(one)
        assert isinstance(await one.call(Acquire(epoch, A, 30_000)), Promise)
        busy = await two.call(Acquire(epoch + 1, B, 30_000))
        assert isinstance(busy, Busy)
        assert busy.holder == "tmr1"
        waiting = asyncio.create_task(two.call(Subscribe(B, 0, 0, "tmr1", epoch)))
        # Other calls of the same twin are answered while its long poll waits.
        await two.call(ReadContainer())
        assert not waiting.done()
        await one.call(Release(epoch, A))
        released = time.monotonic()
        reply = await waiting
        assert isinstance(reply, Subscribed)
        assert reply.holder == ""
        granted = await two.call(Acquire(epoch + 1, B, 30_000))
        assert isinstance(granted, Promise)
        await two.call(Release(epoch + 1, B))
        return time.monotonic() - released

    assert linked(upstream, story, "tmr1", "tmr2") < 5


def test_a_link_says_in_words_why_nobody_answers(upstream: UpstreamProcess, system: System) -> None:
    def reason(link: UpstreamLink) -> str:
        async def ask() -> str:
            started = time.monotonic()
            with pytest.raises(LinkError) as caught:
                await link.call(Acquire(1, A, 1000, pre_vote=True))
            assert time.monotonic() - started < 10
            with pytest.raises(LinkError):
                await link.call(ReadContainer())
            await link.close()
            assert str(caught.value) == f"{link.name}: {caught.value.reason}"
            return caught.value.reason

        return asyncio.run(ask())

    def link(
        name: str = "up1", port: int = upstream.port, role: Any = "upstream", **kind: Any
    ) -> UpstreamLink:
        files = kind.get("files", system.twin("tmr1"))
        tls = contexts(files, kind.get("system", "lab"), role)
        return UpstreamLink(name, kind.get("address", "127.0.0.1"), port, tls, 2.0)

    with socket.socket() as unused, socket.socket() as silent:
        unused.bind(("127.0.0.1", 0))
        assert reason(link(port=unused.getsockname()[1])) == "connection refused"
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert reason(link(port=silent.getsockname()[1])) == "no answer within 1 s"
    wrong = "its certificate is not accepted: "
    assert reason(link("up2")) == f"{wrong}certificate of upstream up1, expected upstream up2"
    assert reason(link(role="twin")) == f"{wrong}certificate of upstream up1, expected twin up1"
    assert reason(link(system="mars")) == f"{wrong}the certificate is of the system 'lab', not of 'mars'"
    assert reason(link(files=system.client("alice"))).startswith("refused (403): This needs the role twin")


def test_a_link_survives_a_restart_of_the_upstream(tmp_path: Path, system: System) -> None:
    made = UpstreamProcess(tmp_path, system)
    made.start()

    async def story(link: UpstreamLink) -> None:
        before = await link.call(ReadContainer())
        poll = asyncio.create_task(link.call(Subscribe(A, 0, 0, "", 0)))
        await link.call(ReadContainer())
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, made.kill)
        with pytest.raises(LinkError, match=r"connection (reset|closed|refused)"):
            await poll
        with pytest.raises(LinkError, match=r"connection (reset|closed|refused)"):
            await link.call(ReadContainer())
        await loop.run_in_executor(None, made.start)
        assert await link.call(ReadContainer()) == before

    try:
        linked(made, story)
    finally:
        made.close()


def test_a_last_release_releases_at_once(upstream: UpstreamProcess, system: System) -> None:
    """What tmr-vip posts for a twin that died: the release as bytes, with the twin's certificate."""

    async def granted(link: UpstreamLink) -> int:
        await founded(link)
        epoch = await next_epoch(link)
        assert isinstance(await link.call(Acquire(epoch, A, 30_000)), Promise)
        return epoch

    epoch = linked(upstream, granted)
    with client(upstream, system.twin("tmr1")) as http:
        answer = http.post(
            "/v1/lease/release",
            content=encode(Release(epoch, A)),
            headers={"Content-Type": "application/msgpack"},
        )
    assert answer.status_code == 200
    status = msgspec.json.decode(upstream.command("status", "--json").stdout)
    assert (status["lease_holder"], status["promised"]) == (None, epoch)


def test_the_service_manager_hears_ready_alive_and_stopping(tmp_path: Path, system: System) -> None:
    made = UpstreamProcess(tmp_path, system)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        made.environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "900000"}
        try:
            made.start()
            assert manager.recv(1000).startswith(b"READY=1\nSTATUS=container 130-")
            assert made.socket.stat().st_mode & 0o777 == 0o660
            assert manager.recv(1000) == b"WATCHDOG=1"
            assert manager.recv(1000) == b"WATCHDOG=1"
            assert made.stop() == 0
            while (heard := manager.recv(1000)) == b"WATCHDOG=1":
                pass
            assert heard == b"STOPPING=1"
        finally:
            made.close()


# -- administration ----------------------------------------------------------------------------------------


def test_a_licence_is_requested_issued_and_activated(tmp_path: Path, system: System) -> None:
    vendor = Vendor()
    machines = [UpstreamProcess(tmp_path, system, name) for name in ("up1", "up2", "up3")]
    try:
        for machine in machines:
            machine.start()
            (machine.vendors / f"{FIRM}.pem").write_bytes(vendor.public_pem)
        requests = [machine.command("request", "--firm", str(FIRM)).stdout.encode() for machine in machines]
        update = tmp_path / "update.json"
        update.write_bytes(vendor.issue(requests, Licence(product_code=1001, quantity=5, name="Editor")))
        for machine in machines:
            done = machine.command("activate", str(update))
            assert (done.returncode, done.stderr) == (0, "")
            assert "added: 6000010:1001 TMR-Id 1, quantity 5 Editor" in done.stdout
            again = machine.command("activate", str(update))
            assert (again.returncode, again.stdout) == (1, "")
            assert "is active in" in again.stderr
            assert "remedy: nothing is left to do here" in again.stderr

        async def look(link: UpstreamLink) -> None:
            signed = await link.call(ReadContainer())
            statement = open_statement(signed, signed.key)
            assert (statement.upstream, statement.act_id, statement.generation) == ("up1", ACT_ID, 1)
            assert [item.quantity for item in statement.items] == [5]
            joining = await link.call(Acquire(1, A, 1000))
            assert joining.state.generation == 1

        linked(machines[0], look)
        machines[0].kill()
        machines[0].start()
        linked(machines[0], look)
        status = machines[0].command("status")
        assert "1 items, generation 1" in status.stdout
        tampered = tmp_path / "tampered.json"
        tampered.write_bytes(update.read_bytes().replace(b'"payload":"', b'"payload":"AAAA', 1))
        refused = machines[0].command("activate", str(tampered))
        assert refused.returncode == 1
        assert "the file was changed after the vendor signed it" in refused.stderr
        assert machines[0].command("request", "--firm", "5").returncode == 1
        assert machines[0].command("activate", str(tmp_path / "none")).returncode == 1
        assert machines[0].stop() == 0
        silent = machines[0].command("status")
        assert silent.returncode == 1
        assert "the upstream does not run" in silent.stderr
    finally:
        for machine in machines:
            machine.close()
