# SPDX-License-Identifier: Apache-2.0
"""Everything that is wrong is answered with a problem document that says what, and what to do."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.tmr_system import ALICE, OLGA, ask, item, key, lasting_lease, running, scenario
from tmr.net.identity import Identity


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"firm_code": 1}, "firm_code"),
        ({"firm_code": "6000010"}, "firm_code"),
        ({"ttl": 4}, "ttl"),
        ({"ttl": 3601}, "ttl"),
        ({"access_mode": "best"}, "access_mode"),
        ({"station": ""}, "station"),
        ({"user": "x\u001b[31m"}, "user"),
        ({"colour": "blue"}, "colour"),
        ({"tmr_id": 0}, "tmr_id"),
    ],
)
def test_a_wrong_member_is_named(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    @scenario
    async def run() -> None:
        async with running(tmp_path, item()) as system, system.active.client() as client:
            answer = await client.post("/v1/sessions", json=ask(**change), headers=key())
            assert (answer.status_code, answer.json()["type"]) == (422, "urn:tmr:problem:bad-request")
            assert named in answer.json()["detail"]
            assert "firm_code" in answer.json()["remedy"]
            assert not system.active.agent.replicator.ledger.sessions

    run()


@scenario
async def test_keys_bodies_paths_and_methods(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        for headers in ({}, {"Idempotency-Key": "short"}, {"Idempotency-Key": "with blanks in it"}):
            answer = await client.post("/v1/sessions", json=ask(), headers=headers)
            assert answer.status_code == 422
            assert "Idempotency-Key" in answer.json()["detail"]
        for body in (b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000):
            answer = await client.post("/v1/sessions", content=body, headers=key())
            assert (answer.status_code, answer.json()["status"]) == (422, 422)
        answer = await client.post("/v1/sessions", content=b" " * 300_000, headers=key())
        assert answer.status_code == 413
        answer = await client.post("/v1/heartbeats", json={"sessions": ["x"] * 1001})
        assert answer.status_code == 422
        for method, path, status in (("GET", "/v2/nothing", 404), ("PATCH", "/v1/sessions", 405)):
            answer = await client.request(method, path)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["allow"] == "GET, POST", "two routes share the path"


@scenario
async def test_numbers_and_times_are_what_the_schema_says(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        for members, status in (
            ({"ttl": 7.0, "tmr_id": 1.0}, 201),
            ({"ttl": 7.5}, 422),
            ({"ttl": "7"}, 422),
            ({"ttl": True}, 422),
            ({"released": "2026-03-01T00:00:00+01:00"}, 201),
            ({"released": 0}, 422),
            ({"released": "0"}, 422),
            ({"released": "2026-03-01"}, 422),
        ):
            answer = await client.post("/v1/sessions", json=ask(**members), headers=key())
            assert answer.status_code == status, (members, answer.text)


@scenario
async def test_ids_in_paths(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        for method, path, status in (
            ("DELETE", "/v1/sessions/never-granted", 204),
            ("DELETE", "/v1/sessions/a%20blank", 422),
            ("DELETE", f"/v1/sessions/{'x' * 129}", 422),
            ("PUT", "/v1/sessions/a%0Aline/heartbeat", 422),
            ("DELETE", "/v1/borrowings/a%00nul", 422),
            ("GET", "/v1/sessions/", 404),
        ):
            answer = await client.request(method, path)
            assert answer.status_code == status, (path, answer.text)


@scenario
async def test_roles(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        for peer in (Identity("upstream", "up1"), Identity("twin", "tmr2"), None):
            async with system.active.client(peer) as client:
                answer = await client.post("/v1/sessions", json=ask(), headers=key())
                assert (answer.status_code, answer.json()["type"]) == (403, "urn:tmr:problem:wrong-role")
                status = await client.get("/v1/status")
                assert status.status_code == (403 if peer is None else 200)
        async with system.active.client(ALICE) as client:
            answer = await client.post("/v1/operator/switchover")
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:tmr:problem:wrong-role")
        async with system.active.client(OLGA) as client:
            assert (await client.post("/v1/sessions", json=ask(), headers=key())).status_code == 201


@scenario
async def test_the_passive_twin_shows_itself_and_refers_to_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting_lease(monkeypatch)
    async with running(tmp_path, item()) as system, system.passive.client() as client:
        status = (await client.get("/v1/status")).json()
        assert (status["role"], status["lease_remaining_ms"]) == ("passive", None)
        assert status["peer"] == system.active.name
        for method, path in (
            ("GET", "/v1/containers"),
            ("GET", "/v1/sessions"),
            ("PUT", "/v1/sessions/x/heartbeat"),
            ("DELETE", "/v1/sessions/x"),
        ):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:tmr:problem:not-active")
            assert answer.json()["vip"] == ["10.20.0.100"]
        answer = await client.post("/v1/sessions", json=ask(), headers=key())
        assert answer.json()["type"] == "urn:tmr:problem:not-active"
        assert 'tmr_role{role="passive"} 1.0' in (await client.get("/metrics")).text


@scenario
async def test_metrics(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        await client.post("/v1/sessions", json=ask(), headers=key())
        await client.put("/v1/sessions/some-session/heartbeat")
        await client.get("/nowhere")
        text = (await client.get("/metrics")).text
        for line in (
            'tmr_role{role="active"} 1.0',
            "tmr_sessions 1.0",
            'tmr_seats_in_use{firm_code="6000010",product_code="1",reference="0",tmr_id="1"} 1.0',
            'tmr_seats{firm_code="6000010",product_code="1",reference="0",tmr_id="1"} 2.0',
            'tmr_upstream_reachable{upstream="up2"} 1.0',
            'tmr_requests_total{method="POST",route="/v1/sessions",status="201"} 1.0',
            'tmr_requests_total{method="PUT",route="/v1/sessions/{session}/heartbeat",status="404"} 1.0',
            'tmr_requests_total{method="GET",route="unknown",status="404"} 1.0',
            "tmr_failovers_total 1.0",
        ):
            assert f"{line}\n" in text, text


@scenario
async def test_the_api_description_is_whole(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        document = (await client.get("/openapi.json")).json()

        def references(runner: Any) -> list[str]:
            if isinstance(runner, dict):
                own = [runner["$ref"]] if isinstance(runner.get("$ref"), str) else []
                return own + [ref for value in runner.values() for ref in references(value)]
            return [ref for value in runner for ref in references(value)] if isinstance(runner, list) else []

        known = document["components"]["schemas"]
        assert references(document)
        assert {ref.rpartition("/")[2] for ref in references(document)} <= set(known)
        assert "/v1/sessions/{session}/heartbeat" in document["paths"]


@scenario
async def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        for twin in system.twins:
            async with twin.client() as client:
                answer = await client.get("/")
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert not re.search(r"(src|href)=|url\(|@import|https?:", answer.text)
            assert "innerHTML" not in answer.text
