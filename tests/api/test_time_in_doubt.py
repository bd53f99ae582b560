# SPDX-License-Identifier: Apache-2.0
"""Clocks that show days later than the journal knows: what goes on, what is refused, and how it ends."""

import csv
import datetime as dt
import io
import re
import ssl
from pathlib import Path

import httpx
import pytest

from tests.support import network_server
from tests.support.lending import borrower
from tests.support.tmr_system import ALICE, OLGA, System, Twin, ask, item, key, running, scenario, until
from tmr.runtime.clock import wall_ms
from tmr.service.sessions import IDLE_MS

DAYS_MS = 3 * 86_400_000


def shown(off_ms: int = DAYS_MS) -> dict[str, str]:
    """What the clocks show, as an operator writes it."""
    return {"time": dt.datetime.fromtimestamp((wall_ms() + off_ms) / 1000, dt.UTC).isoformat()}


def slug(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


async def status(client: httpx.AsyncClient) -> dict[str, object]:
    found: dict[str, object] = (await client.get("/v1/status")).json()
    return found


def set_clocks(system: System, off_ms: int, *synchronised: bool) -> None:
    """All clocks alike, while the active twin is active: the next term sees it."""
    for number, upstream in enumerate(system.upstreams):
        upstream.clock_off = off_ms
        upstream.acceptor.clock_synchronised = number < len(synchronised) and synchronised[number]


async def failover(system: System) -> Twin:
    """The other twin serves."""
    first = system.active
    first.vip.stop()
    (second,) = [twin for twin in system.twins if twin is not first]
    await until(lambda: second.serves, "the other twin serves")
    return second


@scenario
async def test_nothing_new_is_decided_before_an_operator_accepts_the_time(tmp_path: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(borrower().certificate.decode())
    async with running(tmp_path, item(units=10, borrow_s=3600)) as system:
        held = key()
        async with system.active.client() as client:
            session = (await client.post("/v1/sessions", json=ask(), headers=held)).json()["id"]
            other = (await client.post("/v1/sessions", json=ask(), headers=key())).json()["id"]
        set_clocks(system, DAYS_MS)
        twin = await failover(system)
        journal = twin.agent.replicator.twin.log
        async with twin.client(ALICE, der) as client, twin.client(OLGA) as olga:
            refused = await client.post("/v1/sessions", json=ask(), headers=key())
            assert (refused.status_code, slug(refused)) == (503, "time-in-doubt")
            assert "The clocks show" in refused.json()["detail"] and "Retry-After" in refused.headers
            assert "tmr accept-time" in refused.json()["remedy"]
            for path, body in (
                (f"/v1/sessions/{session}/units", {"units": 1}),
                ("/v1/borrowings", {**ask(), "seconds": 60}),
                ("/v1/explain", ask()),
            ):
                assert slug(await client.post(path, json=body, headers=key())) == "time-in-doubt", path
            batch = await client.post(
                "/v1/batch", json={"steps": [{"do": "open", "key": "batch-key-1", "request": ask()}]}
            )
            assert batch.json()["results"][0]["problem"]["type"].endswith("time-in-doubt"), batch.text
            assert (await client.put(f"/v1/sessions/{session}/heartbeat")).status_code == 200
            again = await client.post("/v1/sessions", json=ask(), headers=held)
            assert again.json()["id"] == session, "what was decided before is answered"
            assert (await client.delete(f"/v1/sessions/{other}")).status_code == 204

            seen = await status(client)
            (alarm,) = [one for one in seen["alarms"] if "accept-time" in one]  # type: ignore[attr-defined]
            assert "3.0 days after what the journal knows" in alarm and "set the clocks right" in alarm
            assert seen["time_in_doubt"] is not None
            assert "tmr_time_in_doubt 1.0" in (await client.get("/metrics")).text
            assert journal.last_time < wall_ms() + 60_000, "the journal goes on from what it knew"

            assert (await client.put("/v1/operator/time", json=shown())).status_code == 403
            wrong = await olga.put("/v1/operator/time", json=shown(0))
            assert (wrong.status_code, slug(wrong)) == (409, "time-refused")
            assert "The clocks show" in wrong.json()["detail"]
            assert slug(await client.post("/v1/sessions", json=ask(), headers=key())) == "time-in-doubt"

            accepted = await olga.put("/v1/operator/time", json=shown())
            assert accepted.status_code == 200, accepted.text
            assert accepted.json()["changed"]
            assert journal.last_time > wall_ms() + DAYS_MS - 60_000
            assert (await client.post("/v1/sessions", json=ask(), headers=key())).status_code == 201
            twice = await olga.put("/v1/operator/time", json=shown())
            assert (twice.status_code, twice.json()["changed"]) == (200, False)
            seen = await status(client)
            assert seen["time_in_doubt"] is None and "accept-time" not in str(seen["alarms"])
            assert "tmr_time_in_doubt 0.0" in (await client.get("/metrics")).text
            told = (await olga.get("/v1/tracking", params={"firm_code": 6_000_010})).text
            assert '"event":"time-accepted","product_code":0,"client":"operator olga"' in told
            (before,) = set(re.findall(r'"before_ms":(\d+)', told))
            table = await olga.get("/v1/tracking", params={"firm_code": 6_000_010, "format": "csv"})
            rows = [row for row in csv.DictReader(io.StringIO(table.text)) if row["before"]]
            assert [row["event"] for row in rows] == ["time-accepted"]
            assert dt.datetime.fromisoformat(rows[0]["before"]).timestamp() * 1000 == pytest.approx(
                int(before)
            )


@pytest.mark.parametrize("kept", [1, 2])
@scenario
async def test_two_clocks_that_a_time_source_keeps_need_no_operator(tmp_path: Path, kept: int) -> None:
    async with running(tmp_path, item()) as system:
        set_clocks(system, DAYS_MS, *[True] * kept)
        twin = await failover(system)
        async with twin.client() as client:
            answer = await client.post("/v1/sessions", json=ask(), headers=key())
            assert answer.status_code == (201 if kept == 2 else 503), answer.text
        set_clocks(system, DAYS_MS, True, True)
        certified = twin.agent.replicator.certified_ms
        await until(lambda: certified() > wall_ms() + DAYS_MS - 60_000, "the time is believed")


@scenario
async def test_clocks_that_are_set_right_end_it(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        set_clocks(system, DAYS_MS)
        twin = await failover(system)
        async with twin.client() as client:
            assert slug(await client.post("/v1/sessions", json=ask(), headers=key())) == "time-in-doubt"
            set_clocks(system, 0)
            replicator = twin.agent.replicator
            await until(
                lambda: replicator.certified_ms() > 0 and replicator.time_waits is None, "the doubt ends"
            )
            assert (await client.post("/v1/sessions", json=ask(), headers=key())).status_code == 201
            assert replicator.certified_ms() < wall_ms() + 60_000


@scenario
async def test_a_network_licence_server_has_one_clock_to_doubt(tmp_path: Path) -> None:
    async with network_server.running(tmp_path, item()) as system:
        server = system.active
        async with server.client(ALICE) as client, server.client(OLGA) as olga:
            session = (await client.post("/v1/sessions", json=ask(), headers=key())).json()["id"]
            server.clock_off = DAYS_MS
            assert slug(await client.post("/v1/sessions", json=ask(), headers=key())) == "time-in-doubt"
            assert (await client.put(f"/v1/sessions/{session}/heartbeat")).status_code == 200
            assert "the clock shows" in str((await status(client))["alarms"])
            assert slug(await olga.put("/v1/operator/time", json=shown(0))) == "time-refused"
            assert (await olga.put("/v1/operator/time", json=shown())).json()["changed"]
            assert (await client.post("/v1/sessions", json=ask(), headers=key())).status_code == 201
            nothing = await olga.put("/v1/operator/time", json=shown(0))
            assert "Nothing waits" in nothing.json()["remedy"]
            server.clock_off = 2 * DAYS_MS
            assert slug(await client.post("/v1/explain", json=ask())) == "time-in-doubt"
            server.synchronised = True
            assert (await client.post("/v1/explain", json=ask())).status_code == 200
            assert server.replicator.certified_ms() > wall_ms() + 2 * DAYS_MS - 60_000


@scenario
async def test_an_idle_system_writes_what_time_it_is(tmp_path: Path) -> None:
    """Each hour: so a long quiet time is no jump for the next term."""
    async with network_server.running(tmp_path) as system:
        replicator = system.active.replicator
        await until(lambda: replicator.pending == 0, "the container is assembled")
        entries = system.active.acceptor.log.last
        system.active.clock_off = (IDLE_MS * 3) // 2
        await until(lambda: replicator.last_ms > wall_ms() + IDLE_MS, "an entry is written")
        assert system.active.acceptor.log.last == entries + 1
