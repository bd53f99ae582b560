# SPDX-License-Identifier: Apache-2.0
"""Two twins, three upstreams: who serves when something is lost, and what clients are told."""

import asyncio
import functools
from collections.abc import Iterable
from pathlib import Path

from tests.support.tmr_system import OLGA, TTL, System, Twin, ask, item, key, running, scenario, until
from tmr.api.status import Role
from tmr.ledger import Ledger
from tmr.quorum.progress import Progress
from tmr.twin.twin_reports import OtherTwin


def other(system: System, twin: Twin) -> Twin:
    (found,) = [one for one in system.twins if one is not twin]
    return found


def other_twin(twin: Twin) -> OtherTwin:
    return twin.agent.other_twin()


def one_is_left(peers: Iterable[Progress]) -> bool:
    return sum(peer.reachable for peer in peers) == 1


def all_answer(peers: Iterable[Progress]) -> bool:
    return all(peer.reachable for peer in peers)


def holds(ledger: Ledger, count: int) -> bool:
    return len(ledger.sessions) == count


async def serves(twin: Twin) -> None:
    await until(lambda: twin.serves, f"{twin.name} serves")


@scenario
async def test_without_the_vip_manager_the_other_twin_serves_and_the_session_lives(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        first = system.active
        second, header = other(system, first), key()
        async with first.client() as client:
            granted = (await client.post("/v1/sessions", json=ask(), headers=header)).json()
        first.vip.stop()
        await serves(second)
        assert not first.serves
        async with second.client() as client:
            beat = await client.put(f"/v1/sessions/{granted['id']}/heartbeat")
            assert beat.status_code == 200
            assert beat.json()["epoch"] > granted["epoch"]
            again = (await client.post("/v1/sessions", json=ask(), headers=header)).json()
            assert again["id"] == granted["id"]
            assert len(second.agent.replicator.ledger.sessions) == 1
        async with first.client() as client:
            status = (await client.get("/v1/status")).json()
            assert any("tmr-vip" in alarm for alarm in status["alarms"])
        first.vip.start()
        await until(lambda: first.agent.replicator.twin.eligible, "tmr-vip is back")
        await asyncio.sleep(2 * TTL)
        assert second.serves, "who returns stays passive"


@scenario
async def test_the_lease_outlives_the_address_of_a_killed_vip_manager(tmp_path: Path) -> None:
    """It cannot take the address away any more: the kernel does, at the deadline that it was told last."""
    async with running(tmp_path, item()) as system:
        first = system.active
        second = other(system, first)
        await until(lambda: first.vip.epoch, "the address is up")
        first.vip.stop()
        await until(lambda: second.agent.replicator.twin.role == "active", "the other twin is elected")
        assert second.agent.replicator.clock() * 1e9 >= first.vip.commands[-1]["deadline_ns"]


@scenario
async def test_a_lost_carrier_hands_over(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        first = system.active
        await until(lambda: first.vip.epoch, "the address is up")
        first.vip.carrier(up=False)
        second = other(system, first)
        await serves(second)
        await until(lambda: second.vip.epoch, "the address is up at the other twin")
        assert first.vip.epoch is None


@scenario
async def test_a_twin_knows_whether_the_other_one_could_take_over(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        first = system.active
        second = other(system, first)
        await until(lambda: other_twin(first).ready, "the active twin has heard that the other one is ready")
        await until(lambda: other_twin(second).ready, "so has the passive one")
        assert (other_twin(first).name, other_twin(second).name) == (second.name, first.name)
        second.vip.carrier(up=False)
        await until(lambda: not other_twin(first).ready, "it has heard that the other one is not")
        assert (other_twin(first).heard, "virtual address" in other_twin(first).reason) == (True, True)
        second.vip.carrier(up=True)
        await until(lambda: other_twin(first).ready, "it is ready again")
        await second.agent.stop()
        await until(lambda: not other_twin(first).ready, "a twin that is stopped is not ready")
        await until(lambda: not other_twin(first).heard, "what it said is old")


@scenario
async def test_a_switchover_that_would_be_an_outage_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        first = system.active
        second = other(system, first)
        await until(lambda: other_twin(first).ready, "the other twin could take over")
        second.vip.carrier(up=False)
        await until(lambda: not other_twin(first).ready, "it has heard that the other one could not")
        async with first.client(OLGA) as olga:
            refused = await olga.post("/v1/operator/switchover")
            told = refused.json()
            assert (refused.status_code, told["type"]) == (409, "urn:tmr:problem:twin-not-ready")
            assert told["detail"].startswith(f"{second.name} could not take over at once: it cannot hold")
            assert "tmr-server" in told["remedy"]
            assert first.serves
            await second.agent.stop()
            await until(lambda: not other_twin(first).heard, "what the other one said is old")
            refused = await olga.post("/v1/operator/switchover")
            assert (refused.status_code, first.serves) == (409, True)
            assert "two upstreams have not heard it" in refused.json()["detail"]
        first.agent.leave("the daemon is stopped")
        await until(lambda: not first.serves, "a daemon that is stopped asks nobody")


@scenario
async def test_a_switchover_drops_the_address_before_the_lease_is_released(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        first = system.active
        second = other(system, first)
        await until(lambda: first.vip.epoch, "the address is up")
        await until(lambda: other_twin(first).ready, "the other twin could take over")
        async with first.client() as client, first.client(OLGA) as olga:
            for upstream in system.upstreams:
                upstream.delay = 0.03
            granting = asyncio.create_task(client.post("/v1/sessions", json=ask(), headers=key()))
            await until(lambda: first.agent.replicator.pending, "a grant is on its way")
            answer = await olga.post("/v1/operator/switchover")
            assert (answer.status_code, answer.json()) == (202, {"from": first.name})
            granted = await granting
            assert granted.status_code == 201, granted.text
        await serves(second)
        assert len(second.agent.replicator.ledger.sessions) == 1
        assert first.vip.commands[-1]["op"] == "drop"
        assert first.agent.role() is Role.PASSIVE
        async with second.client(OLGA) as olga, first.client(OLGA) as passive:
            assert (await olga.get("/v1/sessions")).json()["sessions"]
            assert (await passive.post("/v1/operator/switchover")).status_code == 503


@scenario
async def test_deadlines_told_to_the_vip_manager_only_grow_and_stay_within_the_lease(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        twin = system.active
        await until(lambda: len(twin.vip.commands) >= 5, "five renewals")
        deadlines = [command["deadline_ns"] for command in twin.vip.commands]
        assert deadlines == sorted(set(deadlines))
        replicator = twin.agent.replicator
        assert deadlines[-1] <= (replicator.clock() + replicator.twin.timing.usable) * 1e9
        assert {command["epoch"] for command in twin.vip.commands} == {replicator.twin.epoch}


@scenario
async def test_one_upstream_lost_two_lost_and_back(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        active = system.active
        up1, up2, up3 = system.upstreams
        async with active.client() as client:
            session = (await client.post("/v1/sessions", json=ask(), headers=key())).json()["id"]
            # What a twin tells of licences without a majority, it has from its mirror.
            mirror = system.passive.agent.replicator.ledger
            await until(lambda: session in mirror.sessions, "the session is mirrored")
            up3.cut()
            await until(lambda: not active.agent.replicator.twin.replicas[2].reachable, "up3 is missed")
            assert (await client.put(f"/v1/sessions/{session}/heartbeat")).status_code == 200
            container = (await client.get("/v1/containers")).json()["containers"][0]
            assert [one["state"] for one in container["upstreams"]] == ["available"] * 2 + ["unreachable"]
            assert container["items"] == 1
            up2.cut()
            await until(lambda: not active.serves, "the lease ends")
            for twin in system.twins:
                peers = twin.agent.replicator.twin.replicas
                await until(functools.partial(one_is_left, peers), "both twins know")
                async with twin.client() as asking:
                    refusal = await asking.post("/v1/sessions", json=ask(), headers=key())
                    assert refusal.status_code == 503
                    problem = refusal.json()
                    assert problem["type"] == "urn:tmr:problem:no-quorum"
                    assert refusal.headers["retry-after"] == "1"
                    states = {one["upstream"]: one["state"] for one in problem["constituents"]}
                    assert states == {"up1": "available", "up2": "unreachable", "up3": "unreachable"}
                    assert "up2 does not answer" in problem["constituents"][1]["detail"]
                    assert problem["unavailable"][0]["product_code"] == 1
        up2.up = True
        await until(lambda: any(twin.serves for twin in system.twins), "it is served again")
        async with system.active.client() as client:
            assert (await client.put(f"/v1/sessions/{session}/heartbeat")).status_code == 200
        up1.cut()
        up3.up = True
        await asyncio.sleep(TTL)
        await until(lambda: any(twin.serves for twin in system.twins), "any two will do")
        async with system.active.client() as client:
            assert (await client.put(f"/v1/sessions/{session}/heartbeat")).status_code == 200


@scenario
async def test_two_of_three_is_counted_for_each_licence(tmp_path: Path) -> None:
    async with running(tmp_path, item(product=1), item(product=2)) as system:
        system.upstreams[2].hold(item(product=1))
        active = system.active
        ledger = active.agent.replicator.ledger
        await until(lambda: any(one.missing for one in ledger.merged.licences), "up3's container is seen")
        async with active.client() as client:
            ids = [
                (await client.post("/v1/sessions", json=ask(product), headers=key())).json()["id"]
                for product in (1, 2)
            ]
            system.upstreams[0].cut()
            await until(lambda: not active.agent.replicator.twin.replicas[0].reachable, "up1 is missed")
            serial = active.agent.view.serial
            shown = (await client.get(f"/v1/containers/{serial}/items")).json()
            assert [one["product_code"] for one in shown["items"]] == [1]
            (away,) = shown["unavailable"]
            assert [one["state"] for one in away["constituents"]] == ["unreachable", "available", "missing"]
            assert (await client.put(f"/v1/sessions/{ids[0]}/heartbeat")).status_code == 200
            refusal = await client.put(f"/v1/sessions/{ids[1]}/heartbeat")
            assert (refusal.status_code, refusal.json()["type"]) == (
                503,
                "urn:tmr:problem:licence-unavailable",
            )
            both = await client.post("/v1/heartbeats", json={"sessions": ids})
            assert both.json() == {"alive": ids[:1], "lost": [], "unavailable": ids[1:], "ended": []}
            refusal = await client.post("/v1/sessions", json=ask(2), headers=key())
            assert refusal.json()["type"] == "urn:tmr:problem:licence-unavailable"
            assert "up3 holds no" in refusal.json()["detail"]
            system.upstreams[0].up = True
            await until(lambda: active.agent.replicator.twin.replicas[0].reachable, "up1 is back")
            both = await client.post("/v1/heartbeats", json={"sessions": ids})
            assert both.json() == {"alive": ids, "lost": [], "unavailable": [], "ended": []}


@scenario
async def test_a_twin_whose_vip_manager_is_missing_is_never_elected(tmp_path: Path) -> None:
    system = System(tmp_path, item())
    system.twins[0].vip.stop()
    system.twins[1].vip.stop()
    async with (
        system.twins[0].app.router.lifespan_context(system.twins[0].app),
        system.twins[1].app.router.lifespan_context(system.twins[1].app),
    ):
        await asyncio.sleep(3 * TTL)
        assert not any(twin.serves for twin in system.twins)
        system.twins[1].vip.start()
        await serves(system.twins[1])
        system.twins[1].vip.stop()


@scenario
async def test_the_passive_twin_mirrors_the_journal_whichever_upstream_feeds_it(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=9)) as system:
        active, mirror = system.active, system.passive.agent.replicator.ledger
        async with active.client() as client:
            for count, lost in enumerate((None, *system.upstreams), start=1):
                for upstream in system.upstreams:
                    upstream.up = True
                peers = active.agent.replicator.twin.replicas
                await until(functools.partial(all_answer, peers), "all three answer")
                if lost is not None:
                    lost.cut()
                answer = await client.post("/v1/sessions", json=ask(), headers=key())
                assert answer.status_code == 201, answer.text
                mirrored = functools.partial(holds, mirror, count)
                await until(mirrored, f"session {count} is mirrored")
