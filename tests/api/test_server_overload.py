# SPDX-License-Identifier: Apache-2.0
"""More requests than can be answered in time: new ones are turned away, who holds a seat does not notice."""

import asyncio
import contextlib
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.fuzzed import Served, serving
from tests.support import network_server, tmr_system
from tests.support.serving import answer, connect
from tests.support.tmr_system import ALICE, BOB, FIRM, OLGA, ask, item, key, scenario, until
from tmr.api.fields import HEARTBEATS_MAX
from tmr.api.sessions import SessionRequest
from tmr.client import AsyncClient, Client, Config, Policy, TlsFiles
from tmr.http import fair_share, load_limits, load_shedding
from tmr.http.load_limits import LIMITS, Load, Priority

FEW = 8
"""Requests that are taken on at a time, here."""
CLIENTS = 4
PLENTY = item(quantity=None)

Running = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few as a test can bring forth in one process; a machine that is late by itself is no matter here."""
    tmr_system.unhurried(monkeypatch)
    monkeypatch.setitem(LIMITS, Priority.NEW, Load(FEW, FEW, oldest=60.0, lag=60.0))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, [[PLENTY]] * 3) as found:
        yield found


def shed(answer: httpx.Response) -> str:
    """The answer's reason; it is one of a server with too much to do."""
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:tmr:problem:overloaded")
    assert 1 <= int(answer.headers["retry-after"]) <= load_limits.RETRY_MAX
    return str(answer.json()["detail"])


def metric(text: str, name: str) -> float:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


@pytest.mark.parametrize("running", [tmr_system.running, network_server.running])
@scenario
async def test_a_crowd_is_served_in_turns_while_sessions_are_held(tmp_path: Path, running: Running) -> None:
    async with running(tmp_path, PLENTY) as system:
        active = system.active
        ledger = active.agent.replicator.ledger
        async with active.client(BOB) as bob, active.client(ALICE) as alice, active.client(OLGA) as olga:
            body = ask(ttl=5)
            held = [(await bob.post("/v1/sessions", json=body, headers=key())).json()["id"] for _ in range(9)]

            async def beat() -> None:
                for _ in range(3):
                    answer = await bob.post("/v1/heartbeats", json={"sessions": held})
                    assert answer.json()["alive"] == held
                    assert (await bob.put(f"/v1/sessions/{held[0]}/heartbeat")).status_code == 200
                    assert (await olga.get("/v1/status")).status_code == 200

            waiting = [key() for _ in range(4 * FEW)]
            sessions = set[str]()
            rounds = list[int]()
            while waiting:
                asked = [alice.post("/v1/sessions", json=ask(), headers=one) for one in waiting]
                given, _ = await asyncio.gather(asyncio.gather(*asked), beat())
                again = []
                for header, answer in zip(waiting, given, strict=True):
                    if answer.status_code == 201:
                        sessions.add(answer.json()["id"])
                    else:
                        assert "such requests are in work" in shed(answer)
                        again.append(header)
                rounds.append(len(waiting) - len(again))
                assert rounds[-1] > 0, "each round serves some"
                waiting = again
            assert rounds[0] == FEW
            assert len(sessions) == 4 * FEW, "each key got its own, however often it was sent"
            assert set(ledger.sessions) == {*held, *sessions}
            text = (await olga.get("/metrics")).text
            assert metric(text, 'tmr_requests_shed_total{priority="new"}') >= 3 * FEW
            assert metric(text, 'tmr_requests_shed_total{priority="critical"}') == 0
            assert metric(text, 'tmr_requests_in_work{priority="new"}') == 0
            # Of a crowd that makes room nobody is turned away.
            ends = await asyncio.gather(*(alice.delete(f"/v1/sessions/{session}") for session in sessions))
            assert {answer.status_code for answer in ends} == {204}
            assert set(ledger.sessions) == set(held)


@scenario
async def test_slow_upstreams_have_new_requests_turned_away_and_ends_taken(tmp_path: Path) -> None:
    LIMITS[Priority.NEW] = Load(FEW, FEW, oldest=0.1, lag=60.0)  # type: ignore[index]
    async with tmr_system.running(tmp_path, PLENTY) as system, system.active.client() as client:
        replicator = system.active.agent.replicator
        held, other = [
            (await client.post("/v1/sessions", json=ask(), headers=key())).json()["id"] for _ in range(2)
        ]
        for upstream in system.upstreams:
            upstream.delay = 0.2
        first = asyncio.create_task(client.post("/v1/sessions", json=ask(), headers=key()))
        await until(lambda: replicator.oldest > 0.1, "a command waits")
        turned_away = key()
        refused, beaten, ended = await asyncio.gather(
            client.post("/v1/sessions", json=ask(), headers=turned_away),
            client.put(f"/v1/sessions/{held}/heartbeat"),
            client.delete(f"/v1/sessions/{other}"),
        )
        assert "a command has waited" in shed(refused)
        assert (beaten.status_code, ended.status_code) == (200, 204), ended.text
        assert (await first).status_code == 201
        for upstream in system.upstreams:
            upstream.delay = 0.0
        await until(lambda: replicator.pending == 0, "all is stored")
        answer = await client.post("/v1/sessions", json=ask(), headers=turned_away)
        assert answer.status_code == 201
        assert len(replicator.ledger.sessions) == 3


@scenario
async def test_who_waits_in_a_queue_keeps_the_place_whatever_there_is_to_do(tmp_path: Path) -> None:
    async with tmr_system.running(tmp_path, item(quantity=1)) as system, system.active.client() as client:
        await client.post("/v1/sessions", json=ask(), headers=key())
        mine = key()
        place = await client.post("/v1/sessions", json=ask(wait=True), headers=mine)
        assert place.status_code == 202
        LIMITS[Priority.NEW] = Load(1, FEW, oldest=60.0, lag=60.0)  # type: ignore[index]
        for upstream in system.upstreams:
            upstream.delay = 0.1
        stranger = asyncio.create_task(client.post("/v1/sessions", json=ask(wait=True), headers=key()))
        await until(lambda: system.active.agent.replicator.pending, "somebody is in work")
        shed(await client.post("/v1/sessions", json=ask(wait=True), headers=key()))
        again = await client.post("/v1/sessions", json=ask(wait=True), headers=mine)
        assert (again.status_code, again.json()["id"]) == (202, place.json()["id"])
        assert (await stranger).status_code == 202


@scenario
async def test_who_sends_slowly_takes_nobodys_place(tmp_path: Path) -> None:
    """A request is in work once its body has arrived; then it may be turned away."""
    LIMITS[Priority.NEW] = Load(1, FEW, oldest=60.0, lag=60.0)  # type: ignore[index]
    async with tmr_system.running(tmp_path, PLENTY) as system, system.active.client() as client:
        rest = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b'{"firm_code": 6000010, "product_code": 1, '
            await rest.wait()
            yield b'"station": "cad-07"}'

        slow = asyncio.create_task(client.post("/v1/sessions", content=slowly(), headers=key()))
        await asyncio.sleep(0)
        assert (await client.post("/v1/sessions", json=ask(), headers=key())).status_code == 201
        for upstream in system.upstreams:
            upstream.delay = 0.1
        other = asyncio.create_task(client.post("/v1/sessions", json=ask(), headers=key()))
        await until(lambda: system.active.agent.replicator.pending, "it is in work")
        rest.set()
        assert "such requests are in work" in shed(await slow)
        assert (await other).status_code == 201


# -- one client takes all that it can get --------------------------------------------------------------------

FLOOD = 60
"""Requests of one client at once, each about as many unknown sessions as are allowed."""
UNKNOWN = {"sessions": [f"{number:032x}" for number in range(HEARTBEATS_MAX)]}


@pytest.mark.parametrize("running", [tmr_system.running, network_server.running])
@scenario
async def test_a_flood_of_heartbeats_takes_one_share(
    tmp_path: Path, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmr_system.lasting_lease(monkeypatch)
    async with running(tmp_path, PLENTY) as system:
        active, epoch = system.active, system.active.agent.replicator.epoch
        async with active.client(BOB) as bob, active.client(ALICE) as alice, active.client(OLGA) as olga:
            held = (await bob.post("/v1/sessions", json=ask(), headers=key())).json()["id"]
            served = list[int]()

            async def one() -> None:
                served.append((await alice.post("/v1/heartbeats", json=UNKNOWN)).status_code)

            flood = [asyncio.create_task(one()) for _ in range(FLOOD)]
            await until(lambda: served, "the flood is being served")
            for path in (f"/v1/sessions/{held}/heartbeat", f"/v1/sessions/{held}/heartbeat"):
                before = len(served)
                assert (await bob.put(path)).status_code == 200
                assert len(served) - before < FLOOD / 4, "not in line behind all of them"
            assert (await bob.post("/v1/sessions", json=ask(), headers=key())).status_code == 201
            await asyncio.gather(*flood)
            assert set(served) <= {200, 503}
            text = (await olga.get("/metrics")).text
            assert metric(text, 'tmr_requests_limited_total{reason="requests"}') == 0
            assert system.active.agent.replicator.epoch == epoch, "the lease was kept"


@scenario
async def test_what_is_beyond_the_bounds_of_a_client_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_share, "OF_CLIENT_MAX", FEW)
    async with (
        tmr_system.running(tmp_path, PLENTY) as system,
        system.active.client(BOB) as bob,
        system.active.client(ALICE) as alice,
        system.active.client(OLGA) as olga,
    ):
        given = asyncio.gather(*(alice.post("/v1/heartbeats", json=UNKNOWN) for _ in range(3 * FEW)))
        neighbour = await bob.post("/v1/heartbeats", json=UNKNOWN)
        assert neighbour.status_code == 200
        answers = Counter(answer.status_code for answer in await given)
        assert answers[200] >= FEW
        assert answers[503] > 0
        refused = next(answer for answer in await given if answer.status_code == 503)
        assert "requests of alice wait or are in work" in shed(refused)
        text = (await olga.get("/metrics")).text
        assert metric(text, 'tmr_requests_limited_total{reason="requests"}') == answers[503]
        assert (await alice.post("/v1/heartbeats", json=UNKNOWN)).status_code == 200, "it is over"


def test_slow_bodies_of_one_client_are_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that came first may go on; no other client is concerned."""
    monkeypatch.setattr(fair_share, "SLOW_OF_CLIENT_MAX", 2)
    monkeypatch.setattr(load_shedding, "SLOW", 0.05)
    port, body = int(served.url.rpartition(":")[2]), b'{"sessions": ["unknown"]}'
    head = b"POST /v1/heartbeats HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    limited = served.twin.agent.metrics.limited.labels("slow-body")
    with contextlib.ExitStack() as stack:

        def begun(name: str) -> ssl.SSLSocket:
            found = stack.enter_context(connect(port, served.certificates.client(name)))
            found.sendall(head + body[:5])
            return found

        slow = [begun("alice") for _ in range(5)]
        served.wait(lambda: limited._value.get() == 3, "those beyond the bound are refused")
        slow.append(begun("bob"))
        statuses = Counter[int]()
        for one in slow:
            with contextlib.suppress(BrokenPipeError):
                one.sendall(body[5:])
            status, told = answer(one)
            statuses[status] += 1
            assert status == 200 or b"requests of alice are slow" in told
        assert statuses == {200: 3, 503: 3}


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    """The same, with a lease that outlasts pauses of the machine."""
    tmr_system.lasting_lease(monkeypatch)
    with serving(tmp_path, [[PLENTY]] * 3) as found:
        yield found


def test_a_real_flood_costs_no_neighbour_an_answer(lasting: Served) -> None:
    """Over mutual TLS: more connections than are read from at any time, and the lease is kept."""
    served, connections = lasting, 20
    twin = served.twin.agent.replicator.twin
    epoch, flooded, stop = twin.epoch, Counter[int](), threading.Event()

    def flood() -> None:
        with served.client(served.certificates.client("alice")) as alice:
            while not stop.is_set():
                flooded[alice.post("/v1/heartbeats", json=UNKNOWN, timeout=60).status_code] += 1

    threads = [threading.Thread(target=flood) for _ in range(connections)]
    with served.client(served.certificates.client("bob")) as bob:
        session = bob.post("/v1/sessions", json=ask(ttl=600), headers=key()).json()["id"]
        for thread in threads:
            thread.start()
        try:
            served.wait(lambda: flooded.total() > connections, "the flood is being served")
            deadline = twin.deadline
            served.wait(lambda: twin.deadline > deadline, "the lease is renewed meanwhile")
            for _ in range(3):
                assert bob.put(f"/v1/sessions/{session}/heartbeat", timeout=60).status_code == 200
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert set(flooded) <= {200, 503}
    assert twin.epoch == epoch, "the lease was kept"


# -- the clients -------------------------------------------------------------------------------------------


def config_of(served: Served, name: str) -> Config:
    files = served.certificates.client(name)
    tls = TlsFiles(certificate=Path(files.certificate), key=Path(files.key), ca=Path(files.ca))
    port = int(served.url.rpartition(":")[2])
    return Config(system=served.certificates.name, servers=("127.0.0.1",), port=port, tls=tls)


def test_both_clients_come_back_until_they_are_served_and_keep_what_they_hold(served: Served) -> None:
    LIMITS[Priority.NEW] = Load(1, FEW, oldest=60.0, lag=60.0)  # type: ignore[index]
    for upstream in served.twin.agent.replicator.links:
        upstream.delay = 0.02  # type: ignore[attr-defined]
    policy = Policy(patience=120.0, read=30.0, longest_busy_pause=1.0)
    wanted = SessionRequest(firm_code=FIRM, product_code=1, station="cad-07")
    found = Counter[str]()

    def sync_clients() -> None:
        with (
            Client(config_of(served, "alice"), policy=policy) as client,
            client.session(FIRM, 1, ttl=5) as held,
        ):
            threads = [
                threading.Thread(target=lambda: found.update([client.acquire(wanted).id]))
                for _ in range(CLIENTS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            held.check()

    async def async_clients() -> None:
        async with (
            AsyncClient(config_of(served, "bob"), policy=policy) as client,
            client.session(FIRM, 1, ttl=5) as held,
        ):
            sessions = await asyncio.gather(*(client.acquire(wanted) for _ in range(CLIENTS)))
            found.update(one.id for one in sessions)
            held.check()

    thread = threading.Thread(target=sync_clients)
    thread.start()
    asyncio.run(async_clients())
    thread.join()
    assert len(found) == 2 * CLIENTS
    text = served.twin.agent.metrics.text(served.twin.agent.status()).decode()
    assert metric(text, 'tmr_requests_shed_total{priority="new"}') > 0
