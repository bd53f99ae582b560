# SPDX-License-Identifier: Apache-2.0
"""Sessions over the client API: grants, refusals, retries, heartbeats, ends."""

import asyncio
import datetime as dt
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.tmr_system import (
    ALICE,
    BOB,
    FIRM,
    OLGA,
    ask,
    item,
    key,
    lasting_lease,
    running,
    scenario,
    until,
)


@scenario
async def test_one_container_shows_the_licence(tmp_path: Path) -> None:
    async with running(tmp_path, item(name="Simulator")) as system, system.active.client() as client:
        (container,) = (await client.get("/v1/containers")).json()["containers"]
        assert container["serial"].startswith("131-")
        assert container["items"] == 1
        assert [upstream["state"] for upstream in container["upstreams"]] == ["available"] * 3
        status = (await client.get("/v1/status")).json()
        assert (status["container"], status["act_id"]) == (container["serial"], container["act_id"])
        answer = (await client.get(f"/v1/containers/{container['serial']}/items")).json()
        (shown,) = answer["items"]
        assert (shown["firm_code"], shown["product_code"], shown["tmr_id"]) == (FIRM, 1, 1)
        assert (shown["name"], shown["quantity"], shown["in_use"]) == ("Simulator", 2, 0)
        assert [one["state"] for one in shown["constituents"]] == ["available"] * 3
        assert answer["unavailable"] == []


@scenario
async def test_grants_to_the_limit_then_a_refusal_that_names_the_holders(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        active = system.active
        async with active.client(ALICE) as alice, active.client(BOB) as bob:
            for user in ("anna", "bert"):
                answer = await alice.post("/v1/sessions", json=ask(user=user), headers=key())
                assert answer.status_code == 201, answer.text
            refusal = await bob.post("/v1/sessions", json=ask(), headers=key())
            assert refusal.status_code == 409
            assert refusal.headers["content-type"] == "application/problem+json"
            problem = refusal.json()
            assert (problem["type"], problem["code"]) == ("urn:tmr:problem:no-more-licences", 212)
            assert [holder["user"] for holder in problem["holders"]] == ["anna", "bert"]
            assert problem["asked"]["product_code"] == 1
            assert "2 of 2 seats" in problem["detail"]


@scenario
async def test_a_second_tmr_id_of_the_product_is_used_when_the_first_is_full(tmp_path: Path) -> None:
    async with running(tmp_path, item(1, quantity=1), item(2, quantity=1)) as system:
        active = system.active
        async with active.client() as client:
            ids = [
                (await client.post("/v1/sessions", json=ask(), headers=key())).json()["tmr_id"] for _ in "12"
            ]
            assert ids == [1, 2]
            refusal = await client.post("/v1/sessions", json=ask(tmr_id=2), headers=key())
            assert refusal.json()["type"].endswith("no-more-licences")


@scenario
async def test_the_same_key_is_the_same_session_and_another_request_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        header = key()
        first = await client.post("/v1/sessions", json=ask(), headers=header)
        again = await client.post("/v1/sessions", json=ask(), headers=header)
        assert first.json()["id"] == again.json()["id"]
        other = await client.post("/v1/sessions", json=ask(access_mode="exclusive"), headers=header)
        assert (other.status_code, other.json()["type"]) == (409, "urn:tmr:problem:conflicting-key")
        assert len(system.active.agent.replicator.ledger.sessions) == 1


@scenario
async def test_twin_requests_at_the_same_moment_take_one_seat(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        header = key()
        answers = await asyncio.gather(
            *(client.post("/v1/sessions", json=ask(), headers=header) for _ in range(10))
        )
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert len(system.active.agent.replicator.ledger.sessions) == 1


@scenario
async def test_never_more_seats_than_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lasting_lease(monkeypatch)
    async with running(tmp_path, item(quantity=7)) as system, system.active.client() as client:
        answers = await asyncio.gather(
            *(client.post("/v1/sessions", json=ask(), headers=key()) for _ in range(50))
        )
        assert sorted(answer.status_code for answer in answers) == [201] * 7 + [409] * 43


@scenario
async def test_access_modes_reach_the_ledger(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=1)) as system, system.active.client() as client:
        shared = ask(access_mode="station-share")
        for _ in range(3):
            answer = await client.post("/v1/sessions", json=shared, headers=key())
            assert (answer.status_code, answer.json()["in_use"]) == (201, 1)
        free = await client.post("/v1/sessions", json=ask(access_mode="no-user-limit"), headers=key())
        assert free.status_code == 201
        alone = await client.post("/v1/sessions", json=ask(access_mode="exclusive"), headers=key())
        assert (alone.status_code, alone.json()["code"]) == (409, 213)


@scenario
async def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        for body in (ask(77), ask(tmr_id=9)):
            answer = await client.post("/v1/sessions", json=body, headers=key())
            assert (answer.status_code, answer.json()["code"]) == (404, 200)
        answer = await client.get("/v1/containers/131-1/items")
        assert answer.status_code == 404
        assert str(system.active.agent.view.serial) in answer.json()["detail"]


@scenario
async def test_an_expired_licence_is_refused_with_its_date(tmp_path: Path) -> None:
    ended = round(time.time() * 1000) - 86_400_000
    async with running(tmp_path, item(expiration_ms=ended)) as system, system.active.client() as client:
        answer = await client.post("/v1/sessions", json=ask(), headers=key())
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:tmr:problem:licence-expired")
        assert [one["state"] for one in answer.json()["constituents"]] == ["expired"] * 3
        status = (await client.get("/v1/status")).json()
        assert status["licences"][0]["state"] == "expired"


@scenario
async def test_a_licence_that_ends_is_not_kept_alive(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        session, other = [
            (await client.post("/v1/sessions", json=ask(), headers=key())).json()["id"] for _ in "12"
        ]
        assert (await client.put(f"/v1/sessions/{session}/heartbeat")).status_code == 200
        ends = round(time.time() * 1000) + 500
        for upstream in system.upstreams:
            upstream.hold(item(expiration_ms=ends))

        def over() -> bool:
            replicator = system.active.agent.replicator
            held = [merged.item.expiration_ms for merged in replicator.ledger.licences.values()]
            return held == [ends] and replicator.certified_ms() > ends

        await until(over, "the licence ends")
        answer = await client.put(f"/v1/sessions/{session}/heartbeat")
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:tmr:problem:licence-expired")
        assert answer.json()["ended"]["by"] == "licence-expired"
        answer = await client.post("/v1/heartbeats", json={"sessions": [other, session]})
        assert (sorted(answer.json()["lost"]), answer.json()["alive"]) == (sorted([other, session]), [])
        assert answer.json()["unavailable"] == []
        for ended in answer.json()["ended"]:
            assert ended["by"] == "licence-expired"
            assert dt.datetime.fromisoformat(ended["at"]).timestamp() * 1000 >= ends, (
                "and not before it ended"
            )
        answer = await client.put(f"/v1/sessions/{other}/heartbeat")
        assert answer.status_code == 404
        assert answer.json()["detail"].endswith(": its licence had expired.")
        (licence,) = (await client.get("/v1/status")).json()["licences"]
        assert licence["in_use"] == 0


@scenario
async def test_a_licence_that_is_removed_ends_its_sessions_with_that_reason(tmp_path: Path) -> None:
    """It may come back with another update: so they live on for their time to live. Who was not heard is
    told that."""
    async with running(tmp_path, item(), item(9, product=5)) as system, system.active.client() as client:
        session, quiet = [
            (await client.post("/v1/sessions", json=ask(ttl=ttl), headers=key())).json()["id"]
            for ttl in (10, 5)
        ]
        for upstream in system.upstreams:
            upstream.hold(item(9, product=5))
        answers: list[dict[str, Any]] = []
        while not answers or not answers[-1]["lost"]:
            answers.append((await client.post("/v1/heartbeats", json={"sessions": [session]})).json())
            await asyncio.sleep(0.1)
        assert answers[0]["alive"] == [session]
        assert [session] in [answer["unavailable"] for answer in answers], "first it is not kept alive"
        assert answers[-1]["lost"] == [session]
        assert [ended["by"] for ended in answers[-1]["ended"]] == ["licence-removed"]
        answer = await client.put(f"/v1/sessions/{quiet}/heartbeat")
        assert (answer.status_code, answer.json()["ended"]["by"]) == (404, "expiry")


@scenario
async def test_heartbeats_lists_and_releases_are_the_owners(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        active = system.active
        async with active.client(ALICE) as alice, active.client(BOB) as bob, active.client(OLGA) as olga:
            session = (await alice.post("/v1/sessions", json=ask(user="anna"), headers=key())).json()["id"]
            beat = await alice.put(f"/v1/sessions/{session}/heartbeat")
            assert (beat.status_code, beat.json()["ttl"]) == (200, 60)
            for call in (
                bob.put(f"/v1/sessions/{session}/heartbeat"),
                bob.delete(f"/v1/sessions/{session}"),
            ):
                answer = await call
                assert (answer.status_code, answer.json()["code"]) == (403, 231)
            both = await alice.post("/v1/heartbeats", json={"sessions": [session, "nonsense"]})
            assert both.json() == {"alive": [session], "lost": ["nonsense"], "unavailable": [], "ended": []}
            assert (await bob.post("/v1/heartbeats", json={"sessions": [session]})).json()["lost"] == [
                session
            ]
            assert (await bob.get("/v1/sessions")).json()["sessions"] == []
            (shown,) = (await olga.get("/v1/sessions")).json()["sessions"]
            assert (shown["client"], shown["user"], shown["id"]) == ("alice", "anna", session)
            assert 59_000 < shown["remaining_ms"] <= 60_000
            assert (await alice.delete(f"/v1/sessions/{session}")).status_code == 204
            assert (await alice.delete(f"/v1/sessions/{session}")).status_code == 204
            gone = await alice.put(f"/v1/sessions/{session}/heartbeat")
            assert (gone.status_code, gone.json()["type"]) == (404, "urn:tmr:problem:session-lost")


@scenario
async def test_an_operator_may_end_a_session_of_a_client(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        active = system.active
        async with active.client(ALICE) as alice, active.client(OLGA) as olga:
            session = (await alice.post("/v1/sessions", json=ask(), headers=key())).json()["id"]
            assert (await olga.delete(f"/v1/sessions/{session}")).status_code == 204
            assert not system.active.agent.replicator.ledger.sessions


@scenario
async def test_a_silent_session_expires_and_one_that_is_heard_lives(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        header = key()
        silent = (await client.post("/v1/sessions", json=ask(ttl=5), headers=header)).json()["id"]
        heard = (await client.post("/v1/sessions", json=ask(ttl=5), headers=key())).json()["id"]
        began = time.monotonic()
        while silent in system.active.agent.replicator.ledger.sessions:
            assert (await client.put(f"/v1/sessions/{heard}/heartbeat")).status_code == 200
            assert time.monotonic() - began < 15
            await asyncio.sleep(0.1)
        assert time.monotonic() - began >= 5
        assert (await client.get("/v1/sessions")).json()["sessions"][0]["id"] == heard
        again = await client.post("/v1/sessions", json=ask(ttl=5), headers=header)
        assert (again.status_code, again.json()["type"]) == (404, "urn:tmr:problem:session-lost")
        assert "idempotency key" in again.json()["remedy"]


@scenario
async def test_a_heartbeat_waits_for_an_end_that_is_under_way(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        session = (await client.post("/v1/sessions", json=ask(), headers=key())).json()["id"]
        for upstream in system.upstreams:
            upstream.delay = 0.1
        release = asyncio.create_task(client.delete(f"/v1/sessions/{session}"))
        await until(lambda: system.active.agent.replicator.pending, "the release is on its way")
        beat, beats = await asyncio.gather(
            client.put(f"/v1/sessions/{session}/heartbeat"),
            client.post("/v1/heartbeats", json={"sessions": [session]}),
        )
        assert (await release).status_code == 204
        assert beat.status_code == 404
        assert beats.json()["lost"] == [session]
        assert [(one["id"], one["by"]) for one in beats.json()["ended"]] == [(session, "release")]


@scenario
async def test_a_newly_activated_licence_appears_and_a_changed_one_raises_an_alarm(tmp_path: Path) -> None:
    async with running(tmp_path) as system, system.active.client() as client:
        assert (await client.get("/v1/status")).json()["licences"] == []
        system.upstreams[0].hold(item())
        licences = system.active.agent.replicator.ledger
        await until(lambda: licences.merged.incomplete, "the first constituent is seen")
        answer = await client.post("/v1/sessions", json=ask(), headers=key())
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:tmr:problem:licence-unavailable")
        assert answer.headers["retry-after"] == "1"
        assert [one["state"] for one in answer.json()["constituents"]] == ["available", "missing", "missing"]
        system.upstreams[1].hold(item())
        system.upstreams[2].hold(item(quantity=3))
        await until(lambda: licences.licences and licences.merged.licences[0].differing, "all are seen")
        assert (await client.post("/v1/sessions", json=ask(), headers=key())).status_code == 201
        status = (await client.get("/v1/status")).json()
        assert [one["state"] for one in status["licences"][0]["constituents"]] == [
            "available",
            "available",
            "different",
        ]
        assert any("up3 holds a different constituent" in alarm for alarm in status["alarms"])


@scenario
async def test_a_retry_waits_for_its_first_attempt(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=1)) as system, system.active.client() as client:
        for upstream in system.upstreams:
            upstream.delay = 0.05
        header, pending = key(), system.active.agent.replicator
        first = asyncio.create_task(client.post("/v1/sessions", json=ask(), headers=header))
        await until(lambda: pending.pending, "the first attempt is on its way")
        again = asyncio.create_task(client.post("/v1/sessions", json=ask(), headers=header))
        other = asyncio.create_task(client.post("/v1/sessions", json=ask(ttl=7), headers=header))
        await asyncio.sleep(0.01)  # both come to the server
        assert pending.pending <= 1, "one command for all of them"
        answers = [await one for one in (first, again, other)]
        assert [answer.status_code for answer in answers] == [201, 201, 409]
        assert answers[0].json()["id"] == answers[1].json()["id"]
        assert answers[2].json()["type"] == "urn:tmr:problem:conflicting-key"
