"""More requests than can be answered in time: new ones are turned away, who holds a seat does not notice."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.fuzzed import Served, serving
from tests.unit.server import local, network
from tests.unit.server.local import ALICE, BOB, FIRM, OLGA, ask, item, key, scenario, until
from tmr.client import AsyncClient, Client, Config, Policy, TlsFiles
from tmr.client.models import SessionRequest
from tmr.desk import admission
from tmr.desk.admission import LIMITS, Load, Priority

FEW = 8
"""Requests that are taken on at a time, here."""
CLIENTS = 4
PLENTY = item(quantity=None)

Running = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few as a test can bring forth in one process; a machine that is late by itself is no matter here."""
    for priority, limit in LIMITS.items():
        easy = Load(limit.in_work, limit.waiting, oldest=60.0, lag=60.0)
        monkeypatch.setitem(LIMITS, priority, easy)
    monkeypatch.setitem(LIMITS, Priority.NEW, Load(FEW, FEW, oldest=60.0, lag=60.0))


def shed(answer: httpx.Response) -> str:
    """The answer's reason; it is one of a server with too much to do."""
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:tmr:problem:overloaded")
    assert 1 <= int(answer.headers["retry-after"]) <= admission.RETRY_MAX
    return str(answer.json()["detail"])


def metric(text: str, name: str) -> float:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


@pytest.mark.parametrize("running", [local.running, network.running])
@scenario
async def test_a_crowd_is_served_in_turns_while_sessions_are_held(tmp_path: Path, running: Running) -> None:
    async with running(tmp_path, PLENTY) as system:
        active = system.active
        ledger = active.agent.core.ledger
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
            assert metric(text, 'tmr_requests_shed_total{priority="first"}') == 0
            assert metric(text, 'tmr_requests_in_work{priority="new"}') == 0
            # Of a crowd that makes room nobody is turned away.
            ends = await asyncio.gather(*(alice.delete(f"/v1/sessions/{session}") for session in sessions))
            assert {answer.status_code for answer in ends} == {204}
            assert set(ledger.sessions) == set(held)


@scenario
async def test_slow_upstreams_have_new_requests_turned_away_and_ends_taken(tmp_path: Path) -> None:
    LIMITS[Priority.NEW] = Load(FEW, FEW, oldest=0.1, lag=60.0)  # type: ignore[index]
    async with local.running(tmp_path, PLENTY) as system, system.active.client() as client:
        core = system.active.agent.core
        held, other = [
            (await client.post("/v1/sessions", json=ask(), headers=key())).json()["id"] for _ in range(2)
        ]
        for upstream in system.upstreams:
            upstream.delay = 0.2
        first = asyncio.create_task(client.post("/v1/sessions", json=ask(), headers=key()))
        await until(lambda: core.oldest > 0.1, "a command waits")
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
        await until(lambda: core.pending == 0, "all is stored")
        answer = await client.post("/v1/sessions", json=ask(), headers=turned_away)
        assert answer.status_code == 201
        assert len(core.ledger.sessions) == 3


@scenario
async def test_who_waits_in_a_queue_keeps_the_place_whatever_there_is_to_do(tmp_path: Path) -> None:
    async with local.running(tmp_path, item(quantity=1)) as system, system.active.client() as client:
        await client.post("/v1/sessions", json=ask(), headers=key())
        mine = key()
        place = await client.post("/v1/sessions", json=ask(wait=True), headers=mine)
        assert place.status_code == 202
        LIMITS[Priority.NEW] = Load(1, FEW, oldest=60.0, lag=60.0)  # type: ignore[index]
        for upstream in system.upstreams:
            upstream.delay = 0.1
        stranger = asyncio.create_task(client.post("/v1/sessions", json=ask(wait=True), headers=key()))
        await until(lambda: system.active.agent.core.pending, "somebody is in work")
        shed(await client.post("/v1/sessions", json=ask(wait=True), headers=key()))
        again = await client.post("/v1/sessions", json=ask(wait=True), headers=mine)
        assert (again.status_code, again.json()["id"]) == (202, place.json()["id"])
        assert (await stranger).status_code == 202


@scenario
async def test_who_sends_slowly_takes_nobodys_place(tmp_path: Path) -> None:
    """A request is in work once its body has arrived; then it may be turned away."""
    LIMITS[Priority.NEW] = Load(1, FEW, oldest=60.0, lag=60.0)  # type: ignore[index]
    async with local.running(tmp_path, PLENTY) as system, system.active.client() as client:
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
        await until(lambda: system.active.agent.core.pending, "it is in work")
        rest.set()
        assert "such requests are in work" in shed(await slow)
        assert (await other).status_code == 201


# -- the clients -------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, [[PLENTY]] * 3) as found:
        yield found


def config_of(served: Served, name: str) -> Config:
    files = served.certificates.client(name)
    tls = TlsFiles(certificate=Path(files.certificate), key=Path(files.key), ca=Path(files.ca))
    port = int(served.url.rpartition(":")[2])
    return Config(system=served.certificates.name, servers=("127.0.0.1",), port=port, tls=tls)


def test_both_clients_come_back_until_they_are_served_and_keep_what_they_hold(served: Served) -> None:
    LIMITS[Priority.NEW] = Load(1, FEW, oldest=60.0, lag=60.0)  # type: ignore[index]
    for upstream in served.twin.agent.core.links:
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
