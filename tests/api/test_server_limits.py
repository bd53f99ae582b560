# SPDX-License-Identifier: Apache-2.0
"""At a limit it works; one past it comes the documented refusal, nothing is half done, the server goes on."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import network_server, tmr_system
from tests.support.tmr_system import ALICE, BOB, OLGA, ask, item, key, scenario, until
from tmr.api.fields import HEARTBEATS_MAX, TEXT_MAX, TTL_MAX, UNITS_MAX
from tmr.http import fair_share
from tmr.http.messages import BODY_LIMIT
from tmr.ledger import choose, queue
from tmr.ledger.access import ENTRIES_MAX, GROUPS_MAX, RULES_MAX
from tmr.ledger.access import TEXT_MAX as RULE_TEXT_MAX
from tmr.service import command_queue
from tmr.service.guard import LIMIT_RETRY_AFTER

PLENTY = item(quantity=None, units=1000, borrow_s=3600)


def slug(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


@scenario
async def test_requests(tmp_path: Path) -> None:
    async with tmr_system.running(tmp_path, PLENTY) as system:
        active = system.active
        async with active.client(ALICE) as client:
            ledger = active.agent.replicator.ledger
            session = (await client.post("/v1/sessions", json=ask(ttl=TTL_MAX), headers=key())).json()["id"]
            units = f"/v1/sessions/{session}/units"
            texts = ("station", "user", "process", "instance")
            longest: dict[str, Any] = dict.fromkeys(texts, "\U0001f511" * TEXT_MAX)
            for method, path, good, bad in (
                ("POST", "/v1/sessions", ask(**longest), ask(**{**longest, "user": "x" * (TEXT_MAX + 1)})),
                ("POST", "/v1/sessions", ask(ttl=TTL_MAX), ask(ttl=TTL_MAX + 1)),
                (
                    "POST",
                    "/v1/heartbeats",
                    {"sessions": [session] * HEARTBEATS_MAX},
                    {"sessions": [session] * (HEARTBEATS_MAX + 1)},
                ),
                ("POST", units, {"units": 1}, {"units": UNITS_MAX + 1}),
            ):
                before = len(ledger.sessions), ledger.remaining(PLENTY)
                refused = await client.request(method, path, json=bad, headers=key())
                assert (refused.status_code, slug(refused)) == (422, "bad-request")
                assert (len(ledger.sessions), ledger.remaining(PLENTY)) == before
                taken = await client.request(method, path, json=good, headers=key())
                assert taken.status_code in (200, 201), taken.text
            most = await client.post(units, json={"units": UNITS_MAX}, headers=key())
            assert (most.status_code, slug(most)) == (409, "not-enough-units")

            body = httpx.Request("POST", "https://tmr", json=ask()).content
            for size, status in ((BODY_LIMIT, 201), (BODY_LIMIT + 1, 413)):
                answer = await client.post("/v1/sessions", content=body.ljust(size), headers=key())
                assert answer.status_code == status
            assert slug(answer) == "bad-request"


@scenario
async def test_the_access_list(tmp_path: Path) -> None:
    async with tmr_system.running(tmp_path, PLENTY) as system, system.active.client(OLGA) as olga:

        def rules(count: int) -> dict[str, Any]:
            each = [{"name": f"r{number}", "who": {"users": [f"u{number}"]}} for number in range(count)]
            return {"rules": [{**rule, "effect": "allow"} for rule in each]}

        def groups(count: int) -> dict[str, Any]:
            return {"groups": {f"g{number}": {"users": ["u"]} for number in range(count)}}

        def entries(count: int) -> dict[str, Any]:
            return {"groups": {"g": {"users": [f"u{number}" for number in range(count)]}}}

        def text(length: int) -> dict[str, Any]:
            return {"groups": {"g": {"users": ["u" * length]}}}

        version = 0
        for make, limit in (
            (rules, RULES_MAX),
            (groups, GROUPS_MAX),
            (entries, ENTRIES_MAX),
            (text, RULE_TEXT_MAX),
        ):
            refused = await olga.put("/v1/access", json={"version": version, **make(limit + 1)})
            assert (refused.status_code, slug(refused)) == (422, "bad-request")
            taken = await olga.put("/v1/access", json={"version": version, **make(limit)})
            assert taken.status_code == 200, taken.text[:500]
            version = taken.json()["version"]
        assert version == 4


@pytest.mark.parametrize("running", [tmr_system.running, network_server.running])
@scenario
async def test_as_many_sessions_as_there_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: Any
) -> None:
    monkeypatch.setattr(choose, "MAX_SESSIONS", 3)
    monkeypatch.setattr(choose, "MAX_SESSIONS_OF_CLIENT", 2)
    async with running(tmp_path, PLENTY) as system:
        active = system.active
        async with active.client(ALICE) as alice, active.client(BOB) as bob:
            held = [
                (await alice.post("/v1/sessions", json=ask(), headers=key())).json()["id"] for _ in range(2)
            ]
            mine = key()
            refused = await alice.post("/v1/sessions", json=ask(), headers=mine)
            assert (refused.status_code, slug(refused)) == (503, "overloaded")
            assert refused.headers["retry-after"] == str(LIMIT_RETRY_AFTER)
            assert "This client holds 2 sessions" in refused.json()["detail"]
            assert (await bob.post("/v1/sessions", json=ask(), headers=key())).status_code == 201
            full = await bob.post("/v1/sessions", json=ask(), headers=key())
            assert "This system holds 3 sessions" in full.json()["detail"]
            for session in held:
                assert (await alice.put(f"/v1/sessions/{session}/heartbeat")).status_code == 200
            assert (await alice.delete(f"/v1/sessions/{held[0]}")).status_code == 204
            assert (await alice.post("/v1/sessions", json=ask(), headers=mine)).status_code == 201


@scenario
async def test_places_in_a_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_QUEUE", 2)
    monkeypatch.setattr(queue, "MAX_OF_CLIENT", 1)
    async with tmr_system.running(tmp_path, item(quantity=1)) as system:
        active = system.active
        async with active.client(ALICE) as alice, active.client(BOB) as bob:
            asked = ask(wait=True)
            assert (await alice.post("/v1/sessions", json=asked, headers=key())).status_code == 201
            assert (await alice.post("/v1/sessions", json=asked, headers=key())).status_code == 202
            more = await alice.post("/v1/sessions", json=asked, headers=key())
            assert (more.status_code, more.json()["code"]) == (409, 212)
            assert (await bob.post("/v1/sessions", json=asked, headers=key())).status_code == 202
            async with active.client(OLGA) as olga:
                full = await olga.post("/v1/sessions", json=asked, headers=key())
            assert (full.status_code, slug(full)) == (409, "no-more-licences")
            assert len(active.agent.replicator.ledger.waiting) == 2


@pytest.mark.parametrize("running", [tmr_system.running, network_server.running])
@scenario
async def test_commands_that_wait_to_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: Any
) -> None:
    async with running(tmp_path, PLENTY) as system, system.active.client() as client:
        replicator = system.active.agent.replicator
        monkeypatch.setattr(command_queue, "BACKLOG", 4)
        monkeypatch.setattr(fair_share, "TURN_COST", 1000.0)  # all at once
        keys = [key() for _ in range(12)]
        answers = await asyncio.gather(
            *(client.post("/v1/sessions", json=ask(), headers=one) for one in keys)
        )
        refused = [one for one, answer in zip(keys, answers, strict=True) if answer.status_code != 201]
        assert refused
        for answer in answers:
            if answer.status_code != 201:
                assert (answer.status_code, slug(answer)) == (503, "overloaded")
                assert answer.headers["retry-after"] == "1"
        assert len(replicator.ledger.sessions) == len(keys) - len(refused), "nothing half done"
        for one in refused:
            await until(lambda: replicator.pending == 0, "there is room")
            assert (await client.post("/v1/sessions", json=ask(), headers=one)).status_code == 201
        assert len(replicator.ledger.sessions) == len(keys)
