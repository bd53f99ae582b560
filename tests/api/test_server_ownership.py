# SPDX-License-Identifier: Apache-2.0
"""A client and an operator whose certificates have the same name are two: neither owns what the other has."""

from pathlib import Path

from tests.support.tmr_system import OLGA, ask, item, key, running, scenario
from tmr.net.identity import Identity

CLIENT_OLGA = Identity("client", OLGA.name)


@scenario
async def test_a_client_and_an_operator_of_one_name_are_two(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=5)) as system:
        active = system.active
        async with active.client(CLIENT_OLGA) as client, active.client(OLGA) as operator:
            same = key()
            held = (await operator.post("/v1/sessions", json=ask(), headers=same)).json()["id"]
            other = (await client.post("/v1/sessions", json=ask(), headers=same)).json()["id"]
            assert other != held, "an idempotency key is of its client alone"

            assert [one["id"] for one in (await client.get("/v1/sessions")).json()["sessions"]] == [other]
            for answer in (
                await client.put(f"/v1/sessions/{held}/heartbeat"),
                await client.delete(f"/v1/sessions/{held}"),
                await operator.put(f"/v1/sessions/{other}/heartbeat"),
            ):
                assert (answer.status_code, answer.json()["type"]) == (403, "urn:tmr:problem:access-denied")
            shown = (await operator.get("/v1/sessions")).json()["sessions"]
            assert {one["client"] for one in shown} == {"operator olga", "olga"}

            # As an operator it may end the client's, and that is what the client is told.
            assert (await operator.delete(f"/v1/sessions/{other}")).status_code == 204
            lost = await client.put(f"/v1/sessions/{other}/heartbeat")
            assert lost.json()["ended"]["who"] == "operator olga"
            assert (await operator.delete(f"/v1/sessions/{held}")).status_code == 204


@scenario
async def test_access_rules_tell_them_apart(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        active = system.active
        async with active.client(CLIENT_OLGA) as client, active.client(OLGA) as operator:
            rule = {"name": "not-the-operator", "effect": "deny", "who": {"certificates": ["operator *"]}}
            changed = await operator.put("/v1/access", json={"version": 0, "rules": [rule]})
            assert changed.status_code == 200
            refused = await operator.post("/v1/sessions", json=ask(), headers=key())
            assert (refused.status_code, refused.json()["rule"]) == (403, "not-the-operator")
            assert (await client.post("/v1/sessions", json=ask(), headers=key())).status_code == 201
