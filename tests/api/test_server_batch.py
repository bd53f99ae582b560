# SPDX-License-Identifier: Apache-2.0
"""Many requests in one: each is decided as if it had come alone."""

import secrets
from pathlib import Path
from typing import Any

from tests.support.tmr_system import ALICE, BOB, ask, item, key, running, scenario
from tmr.api.fields import BATCH_MAX


def opening(**values: Any) -> dict[str, Any]:
    return {"do": "open", "key": secrets.token_hex(16), "request": ask(**values)}


@scenario
async def test_each_step_is_answered_in_its_place(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=3, units=10)) as system:
        active = system.active
        async with active.client(ALICE) as alice, active.client(BOB) as bob:
            theirs = (await bob.post("/v1/sessions", json=ask(), headers=key())).json()["id"]
            mine = (await alice.post("/v1/sessions", json=ask(), headers=key())).json()["id"]
            steps = [
                {"do": "units", "key": "cut-0000001", "session": mine, "units": 4},
                opening(user="anna"),
                {"do": "release", "session": theirs},
                opening(product_code=77),
                {"do": "release", "session": "never-was"},
                {"do": "units", "key": "cut-0000002", "session": mine, "units": 7},
            ]
            answer = await alice.post("/v1/batch", json={"steps": steps})
            assert answer.status_code == 200, answer.text
            results = answer.json()["results"]
            assert [one["status"] for one in results] == [200, 201, 403, 404, 204, 409]
            assert results[0]["consumption"]["remaining"] == 6
            assert results[1]["session"]["id"] in active.agent.replicator.ledger.sessions
            assert [one["problem"]["code"] for one in results if one["problem"]] == [231, 200, None]
            again = (await alice.post("/v1/batch", json={"steps": steps})).json()["results"]
            assert [one["status"] for one in again] == [200, 201, 403, 404, 204, 409]
            assert again[1]["session"]["id"] == results[1]["session"]["id"]
            assert again[0]["consumption"]["remaining"] == 6


@scenario
async def test_a_batch_never_has_more_seats_than_there_are(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=7)) as system, system.active.client() as client:
        steps = [opening() for _ in range(BATCH_MAX)]
        results = (await client.post("/v1/batch", json={"steps": steps})).json()["results"]
        assert sorted(one["status"] for one in results) == [201] * 7 + [409] * (BATCH_MAX - 7)
        assert all(one["problem"]["holders"] for one in results if one["problem"])
        held = [one["session"]["id"] for one in results if one["session"]]
        freed = await client.post(
            "/v1/batch", json={"steps": [{"do": "release", "session": one} for one in held]}
        )
        assert [one["status"] for one in freed.json()["results"]] == [204] * 7
        assert not system.active.agent.replicator.ledger.sessions


@scenario
async def test_the_same_key_twice_in_one_batch_is_one_session(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=7)) as system, system.active.client() as client:
        step = opening()
        results = (await client.post("/v1/batch", json={"steps": [step, step]})).json()["results"]
        assert {one["session"]["id"] for one in results} == set(
            system.active.agent.replicator.ledger.sessions
        )
        assert len(system.active.agent.replicator.ledger.sessions) == 1


@scenario
async def test_steps_wait_in_the_queue(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=1)) as system, system.active.client() as client:
        steps = [opening(), opening(wait=True), opening(wait=True)]
        results = (await client.post("/v1/batch", json={"steps": steps})).json()["results"]
        assert [one["status"] for one in results] == [201, 202, 202]
        assert [one["place"]["position"] for one in results if one["place"]] == [1, 2]


@scenario
async def test_a_batch_with_a_mistake_does_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=7)) as system, system.active.client() as client:
        good = opening()
        for steps, told in (
            ([], "at least 1 item"),
            ([good] * (BATCH_MAX + 1), f"at most {BATCH_MAX} items"),
            ([good, {**good, "key": "short"}], "steps.1.open.key"),
            ([good, {"do": "dance"}], "'open', 'units', 'release'"),
            ([good, {"do": "release"}], "steps.1.release.session"),
            ([good, {"do": "open", "key": good["key"], "request": {"station": "x"}}], "firm_code"),
        ):
            answer = await client.post("/v1/batch", json={"steps": steps})
            assert (answer.status_code, answer.json()["type"]) == (422, "urn:tmr:problem:bad-request")
            assert told in answer.json()["detail"]
        assert not system.active.agent.replicator.ledger.sessions


@scenario
async def test_a_passive_twin_answers_no_step(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        passive = next(twin for twin in system.twins if twin is not system.active)
        async with passive.client() as client:
            answer = await client.post("/v1/batch", json={"steps": [opening()]})
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:tmr:problem:not-active")
