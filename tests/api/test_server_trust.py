# SPDX-License-Identifier: Apache-2.0
"""The new container of an upstream counts once an operator has said that it is the right one."""

from pathlib import Path

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.tmr_system import (
    ALICE,
    OLGA,
    System,
    Upstream,
    ask,
    item,
    key,
    running,
    scenario,
    until,
)
from tmr.licensing import Container, fingerprint, raw_public_key


def new_container(upstream: Upstream) -> str:
    """The upstream has another container, fresh, which holds what the old one did. Its fingerprint."""
    fresh = Ed25519PrivateKey.generate()
    upstream._key = fresh
    upstream.box = msgspec.structs.replace(
        Container.create(upstream.box.act_id, raw_public_key(fresh)),
        items=upstream.box.items,
        generation=upstream.box.generation + 1,
    )
    upstream.acceptor.generation = upstream.box.generation
    upstream.acceptor.container = fingerprint(raw_public_key(fresh))
    return upstream.acceptor.container


async def votes(client: httpx.AsyncClient) -> int:
    (licence,) = (await client.get("/v1/status")).json()["licences"]
    return int(licence["votes"])


async def alarms(client: httpx.AsyncClient) -> str:
    return "\n".join((await client.get("/v1/status")).json()["alarms"])


async def strange(system: System) -> None:
    """Wait until the active twin has seen a container that it does not believe."""
    agent = system.active.agent
    await until(lambda: any("tmr trust up2" in text for text in agent.status().alarms), "an alarm")


@scenario
async def test_a_new_container_counts_once_it_is_trusted(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client(OLGA) as olga:
        shown = new_container(system.upstreams[1])
        await strange(system)
        assert shown in await alarms(olga), "the alarm names what is to be compared, and the command"
        async with system.active.client() as alice:
            held = await alice.post("/v1/sessions", json=ask(), headers=key())
            assert held.status_code == 201

        spelled = shown[:32].upper() + " : " + shown[32:]
        answer = await olga.put("/v1/operator/trust", json={"upstream": "up2", "fingerprint": spelled})
        assert answer.status_code == 200, answer.text
        assert answer.json() == {
            "upstream": "up2",
            "container": str(system.upstreams[1].box.serial),
            "fingerprint": shown,
            "changed": True,
        }
        assert await votes(olga) == 3
        assert "up2" not in await alarms(olga), "no constituent is missing any more"
        again = await olga.put("/v1/operator/trust", json={"upstream": "up2", "fingerprint": shown})
        assert again.json() == {**answer.json(), "changed": False}
        assert await votes(olga) == 3, "a second time takes nothing away"
        sessions = (await olga.get("/v1/sessions")).json()["sessions"]
        assert [one["id"] for one in sessions] == [held.json()["id"]]


@scenario
async def test_a_container_that_is_gone_gives_nothing_with_one_that_is_left(tmp_path: Path) -> None:
    """2 of 3: an upstream lost its store, then another one its power. One constituent is left."""
    async with running(tmp_path, item()) as system, system.active.client(OLGA) as olga:
        async with system.active.client() as alice:
            held = (await alice.post("/v1/sessions", json=ask(), headers=key())).json()["id"]
        new_container(system.upstreams[1])
        await strange(system)
        assert await votes(olga) == 2
        assert "up2 holds no constituent of 1 licences" in await alarms(olga)
        status = (await olga.get("/v1/status")).json()
        assert status["upstreams"][1]["container"] is None, "the old container is not shown any more"
        ledger = system.active.agent.replicator.ledger
        await until(lambda: "up2" in ledger.withdrawn, "the journal withdraws what it stated")
        assert next(iter(ledger.licences.values())).agreeing == ("up1", "up3")
        system.upstreams[0].cut()
        agent = system.active.agent
        await until(lambda: not agent.replicator.upstreams()[0].reachable, "up1 is missed")
        async with system.active.client() as alice:
            answer = await alice.post("/v1/sessions", json=ask(), headers=key())
            assert answer.status_code == 503, answer.text
            assert answer.json()["type"].endswith("licence-unavailable")
            assert "another container" in answer.json()["detail"]
            beat = await alice.put(f"/v1/sessions/{held}/heartbeat")
            assert beat.status_code == 503, beat.text
        assert await votes(olga) == 1


@scenario
async def test_a_container_that_answers_again_states_again(tmp_path: Path) -> None:
    """The former machine has the address back: what was withdrawn counts, without an operator."""
    async with running(tmp_path, item()) as system, system.active.client(OLGA) as olga:
        upstream = system.upstreams[1]
        former = (upstream._key, upstream.box, upstream.acceptor.container)
        new_container(upstream)
        ledger = system.active.agent.replicator.ledger
        await until(lambda: "up2" in ledger.withdrawn, "the journal withdraws what it stated")
        upstream._key, upstream.box, upstream.acceptor.container = former
        upstream.acceptor.generation = upstream.box.generation
        await until(lambda: "up2" not in ledger.withdrawn, "it is believed again")
        assert await votes(olga) == 3


@scenario
async def test_what_is_not_trusted_says_why_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client(OLGA) as olga:
        shown = new_container(system.upstreams[1])
        await strange(system)
        ledger = system.active.agent.replicator.ledger
        before = dict(ledger.trusted)

        async def told(status: int, upstream: str = "up2", wanted: str = shown) -> str:
            answer = await olga.put("/v1/operator/trust", json={"upstream": upstream, "fingerprint": wanted})
            assert answer.status_code == status, answer.text
            assert dict(ledger.trusted) == before
            problem = answer.json()
            assert problem["remedy"]
            return str(problem["detail"])

        wrong = fingerprint(before["up1"])
        assert shown in await told(409, wanted=wrong), "it says what the twin sees"
        assert "64" in await told(422, wanted="x" * 64)
        assert "64" in await told(422, wanted=shown[:-1])
        assert "up9" in await told(422, upstream="up9")

        box = system.upstreams[1].box
        system.upstreams[1].box = msgspec.structs.replace(box, act_id="lab-other")
        assert "lab-other" in await told(409)
        system.upstreams[1].box = msgspec.structs.replace(box, serial=system.upstreams[0].box.serial)
        assert "up1" in await told(409)
        system.upstreams[1].name = "up3"
        system.upstreams[1].box = box
        assert "container of up3" in await told(409)
        system.upstreams[1].name = "up2"
        system.upstreams[1].cut()
        assert "connection refused" in await told(409)

        async with system.active.client(ALICE) as alice:
            answer = await alice.put("/v1/operator/trust", json={"upstream": "up2", "fingerprint": shown})
            assert answer.status_code == 403
        async with system.passive.client(OLGA) as passive:
            answer = await passive.put("/v1/operator/trust", json={"upstream": "up2", "fingerprint": shown})
            assert answer.status_code == 503
