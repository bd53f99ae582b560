# SPDX-License-Identifier: Apache-2.0
"""Disks fill up: before a write fails nothing new is stored, and what is held is kept and given back."""

import ssl
from pathlib import Path

import httpx

from tests.support import network_server, tmr_system
from tests.support.lending import borrower
from tests.support.tmr_system import ALICE, ask, item, key, scenario, until

LICENCE = item(quantity=5, units=100, borrow_s=3600)


def slug(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


async def nothing_new(client: httpx.AsyncClient, session: str) -> list[httpx.Response]:
    """What would store something new is refused; its answers."""
    answers = [
        await client.post("/v1/sessions", json=ask(), headers=key()),
        await client.post("/v1/sessions", json=ask(wait=True), headers=key()),
        await client.post("/v1/borrowings", json={**ask(), "seconds": 600}, headers=key()),
        await client.post(f"/v1/sessions/{session}/units", json={"units": 1}, headers=key()),
    ]
    for answer in answers:
        assert (answer.status_code, slug(answer)) == (503, "storage-full")
        assert answer.headers["retry-after"] == "5"
    return answers


@scenario
async def test_while_a_majority_is_short_nothing_new_is_stored(tmp_path: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(borrower().certificate.decode())
    async with tmr_system.running(tmp_path, LICENCE) as system, system.active.client(ALICE, der) as client:
        replicator = system.active.agent.replicator
        header = key()
        held = await client.post("/v1/sessions", json=ask(), headers=header)
        other = (await client.post("/v1/sessions", json=ask(), headers=key())).json()["id"]
        session = held.json()["id"]

        async def short(*numbers: int) -> None:
            for number, upstream in enumerate(system.upstreams):
                upstream.acceptor.short = number in numbers
            await until(
                lambda: [one.short for one in replicator.upstreams()] == [n in numbers for n in range(3)],
                "the twin hears of it",
            )

        await short(1)
        assert (await client.post("/v1/sessions", json=ask(), headers=key())).status_code == 201
        assert (
            "up2 is short of disk space: make room there" in (await client.get("/v1/status")).json()["alarms"]
        )

        await short(1, 2)
        for answer in await nothing_new(client, session):
            assert "Little disk space is left on up2 and up3" in answer.json()["detail"]
        units = replicator.ledger.remaining(LICENCE)
        assert units == 100
        assert (await client.put(f"/v1/sessions/{session}/heartbeat")).status_code == 200
        again = await client.post("/v1/sessions", json=ask(), headers=header)
        assert (again.status_code, again.json()["id"]) == (201, session)
        assert (await client.delete(f"/v1/sessions/{other}")).status_code == 204
        assert other not in replicator.ledger.sessions

        await short(1)
        assert (await client.post("/v1/sessions", json=ask(), headers=key())).status_code == 201


@scenario
async def test_one_with_space_and_one_away_are_too_few(tmp_path: Path) -> None:
    async with tmr_system.running(tmp_path, LICENCE) as system, system.active.client() as client:
        replicator = system.active.agent.replicator
        system.upstreams[0].acceptor.short = True
        system.upstreams[2].cut()
        await until(
            lambda: replicator.upstreams()[0].short and not replicator.upstreams()[2].reachable,
            "the twin knows both",
        )
        answer = await client.post("/v1/sessions", json=ask(), headers=key())
        assert (answer.status_code, slug(answer)) == (503, "storage-full")
        assert "up1" in answer.json()["detail"]


@scenario
async def test_a_network_licence_server_does_the_same(tmp_path: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(borrower().certificate.decode())
    async with (
        network_server.running(tmp_path, LICENCE) as system,
        system.active.client(ALICE, der) as client,
    ):
        server = system.active
        session = (await client.post("/v1/sessions", json=ask(), headers=key())).json()["id"]
        server.runner.short_of_space = True
        await nothing_new(client, session)
        assert any("nearly full" in alarm for alarm in (await client.get("/v1/status")).json()["alarms"])
        assert (await client.delete(f"/v1/sessions/{session}")).status_code == 204
        server.runner.short_of_space = False
        assert (await client.post("/v1/sessions", json=ask(), headers=key())).status_code == 201
