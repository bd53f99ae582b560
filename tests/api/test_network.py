# SPDX-License-Identifier: Apache-2.0
"""A network licence server: what differs from a TMR system, and what it must not do."""

import asyncio
import datetime as dt
import ssl
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from tests.support.lending import borrower, update_file
from tests.support.network_server import Server, running
from tests.support.tmr_system import ALICE, FIRM, OLGA, ask, item, key, scenario, unhurried, until
from tmr.api.deployment import TMR
from tmr.client.borrowed import verify
from tmr.licensing import Container, public_key_to_pem, raw_public_key
from tmr.net.identity import Identity
from tmr.quorum import stored_journal
from tmr.upstream.admin_messages import Status
from tmr.upstream.store import Store
from tmr.upstream.store_errors import StoreError


def slug(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


async def get(client: httpx.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


@scenario
async def test_clients_see_the_one_container_and_its_plain_licences(tmp_path: Path) -> None:
    async with running(tmp_path, item(name="Simulator")) as system, system.active.client() as client:
        (container,) = (await get(client, "/v1/containers"))["containers"]
        assert container["serial"] == system.box.serial
        assert container["serial"].startswith("130-")
        assert container["kind"] == "CmActLicense with Universal Firm Code"
        assert [(one["name"], one["state"]) for one in container["upstreams"]] == [("lic1", "available")]
        (shown,) = (await get(client, f"/v1/containers/{container['serial']}/items"))["items"]
        assert (shown["tmr_id"], shown["reference"], shown["name"]) == (None, 1, "Simulator")
        assert [(one["upstream"], one["state"]) for one in shown["constituents"]] == [("lic1", "available")]
        session = (await client.post("/v1/sessions", json=ask(), headers=key())).json()
        assert (session["container"], session["tmr_id"], session["reference"]) == (
            container["serial"],
            None,
            1,
        )


@scenario
async def test_its_status_is_that_of_one_server_without_twins(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        await client.post("/v1/sessions", json=ask(), headers=key())
        status = await get(client, "/v1/status")
        assert (status["deployment"], status["role"], status["name"]) == ("network", "active", "lic1")
        assert (status["epoch"], status["sessions"], status["vip"], status["alarms"]) == (1, 1, [], [])
        assert status["lease_remaining_ms"] is None
        assert [(one["name"], one["voting"]) for one in status["upstreams"]] == [("lic1", True)]
        assert (status["licences"][0]["votes"], status["licences"][0]["state"]) == (1, "available")
        second = await system.restart()
        async with second.client() as later:
            assert (await get(later, "/v1/status"))["epoch"] == 2
        async with second.admin() as admin:
            told = msgspec.json.decode((await admin.get("/v1/status")).content, type=Status)
        assert (told.deployment, told.promised, told.lease_holder) == ("network", 2, None)


@scenario
async def test_metrics_and_the_api_description(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        text = (await client.get("/metrics")).text
        families = [family.name for family in text_string_to_metric_families(text)]
        assert len(families) == len(set(families)), "no metric may be there twice"
        assert {"tmr_sessions", "tmr_seats", "tmr_upstream_sync_seconds"} <= set(families)
        described = await get(client, "/openapi.json")
        validate(described)
        assert "/v1/sessions" in described["paths"]
        assert "/v1/updates" not in described["paths"]
        assert "Network licence server" in described["info"]["title"]
        assert (await client.get("/")).status_code == 200


@scenario
async def test_administration_is_on_its_socket_and_clients_are_not(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        async with system.active.client(OLGA) as olga:
            assert (await olga.get(f"/v1/requests/{FIRM}")).status_code == 404
            assert (await olga.post("/v1/container", content=b"")).status_code == 404
            assert (await olga.post("/v1/updates", content=b"{}")).status_code == 404
            refused = await olga.post("/v1/operator/switchover")
            assert (slug(refused), "no twin" in refused.json()["detail"]) == ("bad-request", True)
        async with system.active.client(Identity("twin", "tmr1")) as twin:
            assert slug(await twin.get("/v1/containers")) == "wrong-role"
            assert (await twin.post("/v1/lease/acquire", content=b"")).status_code == 404


@scenario
async def test_another_licence_of_the_product_an_emergency_licence_and_features(tmp_path: Path) -> None:
    items = (
        item(1, quantity=1, feature_map=0b01),
        item(2, quantity=1, feature_map=0b10),
        item(3, quantity=1, feature_map=0b11, emergency=True, usage_s=3600),
    )
    async with running(tmp_path, *items) as system, system.active.client() as client:
        answer = await client.post("/v1/sessions", json=ask(features=0b10), headers=key())
        assert answer.json()["reference"] == 2
        found = [(await client.post("/v1/sessions", json=ask(), headers=key())).json() for _ in "12"]
        assert [(one["reference"], one["emergency"]) for one in found] == [(1, False), (3, True)]
        refusal = await client.post("/v1/sessions", json=ask(), headers=key())
        assert slug(refusal) == "no-more-licences"
        explained = (await client.post("/v1/explain", json=ask())).json()
        assert [one["reference"] for one in explained["licences"]] == [1, 2, 3]
        assert [one["problem"] for one in explained["licences"]] == ["no-more-licences"] * 3


@scenario
async def test_an_expired_licence_is_refused_and_shown_as_such(tmp_path: Path) -> None:
    ended = round(time.time() * 1000) - 86_400_000
    async with running(tmp_path, item(expiration_ms=ended)) as system, system.active.client() as client:
        answer = await client.post("/v1/sessions", json=ask(), headers=key())
        assert (answer.status_code, slug(answer)) == (409, "licence-expired")
        assert [one["state"] for one in answer.json()["constituents"]] == ["expired"]
        (lost,) = (await get(client, f"/v1/containers/{system.box.serial}/items"))["unavailable"]
        assert "valid until" in lost["constituents"][0]["detail"]


@scenario
async def test_a_borrow_file_with_its_one_signature_is_verified_offline(tmp_path: Path) -> None:
    lender = borrower()
    der = ssl.PEM_cert_to_DER_cert(lender.certificate.decode())
    async with running(tmp_path, item(quantity=2, borrow_s=86_400, borrow_seats=1)) as system:
        wish = {**ask(), "seconds": 3600}
        async with system.active.client(ALICE, der) as alice:
            lent = await alice.post("/v1/borrowings", json=wish, headers=key())
            assert lent.status_code == 201, lent.text
            path = f"/v1/borrowings/{lent.json()['id']}"
            assert slug(await alice.post("/v1/borrowings", json=wish, headers=key())) == "borrow-failed"
        second = await system.restart()
        async with second.client(ALICE, der) as alice:
            file = (await alice.get(f"{path}/file")).content
            found = verify(
                file,
                vendor_key=public_key_to_pem(raw_public_key(system.vendor)),
                certificate=lender.certificate,
                key=lender.key,
                now=dt.datetime.now(dt.UTC),
            )
            assert (found.tmr_id, found.container) == (None, system.box.serial)
            assert found.signers == (system.box.serial,)
            assert (await alice.delete(path)).status_code == 204


@scenario
async def test_updates_of_the_other_kind_are_refused_and_change_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        keys = [Ed25519PrivateKey.generate() for _ in "23"]
        others = [Container.create(system.box.act_id, raw_public_key(other)) for other in keys]
        parts = [system.box, *others]
        file = update_file(system.vendor, parts, [item()], "update-tmr", 2)
        before = system.box
        async with system.active.admin() as admin:
            answer = await admin.post("/v1/updates", content=file)
        assert (answer.status_code, answer.json()["refusal"]) == (409, "other-kind")
        assert "network licence server" in answer.json()["detail"]
        assert system.box == before


@scenario
async def test_constituents_that_an_upstream_left_behind_are_not_granted(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        box = system.box
        mixed = (*box.items, item(7, product=5), item(8, product=1))
        await system.stop()
        store = Store.open(tmp_path, "machine")
        store.save_container(msgspec.structs.replace(box, generation=box.generation + 1, items=mixed))
        store.close()
        server = await system.start()
        async with server.client() as client:
            for body in (ask(5), ask(5, tmr_id=7), ask(tmr_id=8)):
                answer = await client.post("/v1/sessions", json=body, headers=key())
                assert (answer.status_code, slug(answer)) == (403, "tmr-id-outside-tmr"), answer.text
            assert slug(await client.post("/v1/sessions", json=ask(6), headers=key())) == "entry-not-found"
            assert (await client.post("/v1/sessions", json=ask(), headers=key())).status_code == 201
            (alarm,) = (await get(client, "/v1/status"))["alarms"]
            assert "TMR-Id 7" in alarm
            assert len((await get(client, "/v1/containers"))["containers"][0]["unavailable"]) == 0


@scenario
async def test_a_clock_that_was_set_back_gives_no_time_again(tmp_path: Path) -> None:
    ends = round(time.time() * 1000) + 60_000
    async with running(tmp_path, item(expiration_ms=ends)) as system:
        system.active.clock_off = 120_000
        async with system.active.client() as client:
            assert slug(await client.post("/v1/sessions", json=ask(), headers=key())) == "licence-expired"
            system.active.clock_off = -3_600_000
            assert slug(await client.post("/v1/sessions", json=ask(), headers=key())) == "licence-expired"
            status = await get(client, "/v1/status")
            assert any("behind certified time" in alarm for alarm in status["alarms"])
            before = system.active.replicator.certified_ms()
            await until(lambda: system.active.replicator.certified_ms() > before, "time goes on")
            # A refusal is recorded within seconds; it brings the time to the disk.
            await client.post("/v1/explain", json=ask())
        await system.holds(item(expiration_ms=ends, name="changed"))
        await system.stop()
        server = await system.start(clock_off=-3_600_000)
        assert server.replicator.certified_ms() >= before
        async with server.client() as client:
            assert slug(await client.post("/v1/sessions", json=ask(), headers=key())) == "licence-expired"


@scenario
async def test_a_renamed_server_keeps_its_licences_and_sessions(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=1)) as system:
        async with system.active.client() as client:
            session = (await client.post("/v1/sessions", json=ask(), headers=key())).json()["id"]
        await system.stop()
        server = await system.start("lic-new")
        async with server.client() as client:
            assert (await client.put(f"/v1/sessions/{session}/heartbeat")).status_code == 200
            (container,) = (await get(client, "/v1/containers"))["containers"]
            assert [one["name"] for one in container["upstreams"]] == ["lic-new"]
            assert (await get(client, "/v1/status"))["alarms"] == []
            assert slug(await client.post("/v1/sessions", json=ask(), headers=key())) == "no-more-licences"
        await system.holds(item(quantity=2))
        await system.stop()
        again = await system.start()
        async with again.client() as client:
            assert (await client.put(f"/v1/sessions/{session}/heartbeat")).status_code == 200
            assert (await client.post("/v1/sessions", json=ask(), headers=key())).status_code == 201


@scenario
async def test_the_record_is_vouched_for_by_the_one_container(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        async with system.active.client() as alice:
            session = (await alice.post("/v1/sessions", json=ask(user="anna"), headers=key())).json()["id"]
            await alice.delete(f"/v1/sessions/{session}")
        second = await system.restart()
        async with second.client(OLGA) as olga:
            answer = await olga.get("/v1/tracking", params={"firm_code": FIRM})
            assert answer.status_code == 200, answer.text
            lines = [msgspec.json.decode(line) for line in answer.content.splitlines()]
            assert [one["line"]["event"] for one in lines[1:-1]] == ["granted", "released"]
            assert (lines[-1]["whole"], len(lines[-1]["attestations"])) == (True, 1)
            table = await olga.get("/v1/tracking", params={"firm_code": FIRM, "format": "csv"})
            assert "anna" in table.text


@scenario
async def test_many_at_once_share_a_sync_and_a_snapshot_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_journal, "SNAPSHOT_EVERY", 100)
    monkeypatch.setattr(stored_journal, "SNAPSHOT_SELDOM", 1)
    unhurried(monkeypatch)
    async with running(tmp_path, item(quantity=None, units=10_000)) as system:
        before = system.active.runner.syncs.count
        async with system.active.client() as client:
            answers = await asyncio.gather(
                *(client.post("/v1/sessions", json=ask(units=3), headers=key()) for _ in range(250))
            )
        assert {answer.status_code for answer in answers} == {201}
        held = {answer.json()["id"] for answer in answers}
        assert len(held) == 250
        assert system.active.runner.syncs.count - before < 100
        assert system.active.acceptor.log.last < 100, "they shared entries"
        assert system.active.acceptor.snapshot.state, "compacted for their bytes"
        second = await system.restart()
        assert set(second.replicator.ledger.sessions) == held
        async with second.client() as client:
            serial = system.box.serial
            (shown,) = (await get(client, f"/v1/containers/{serial}/items"))["items"]
            assert (shown["in_use"], shown["units_remaining"]) == (250, 10_000 - 750)


@scenario
async def test_a_store_of_the_other_mode_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        await system.stop()
        store = Store.open(tmp_path, "machine")
        with pytest.raises(StoreError, match="the store is of a network licence server") as raised:
            store.check_deployment(store.load().membership, TMR)
        assert "correct mode" in str(raised.value)
        store.close()
        await system.start()


@scenario
async def test_a_store_that_fails_is_answered_with_nothing_and_ends_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, item()) as system:
        server: Server = system.active
        async with server.client() as client:
            session = (await client.post("/v1/sessions", json=ask(), headers=key())).json()["id"]

            def full(_: object) -> None:
                raise OSError("disk full")

            monkeypatch.setattr(server.store, "write", full)
            answer = await client.post("/v1/sessions", json=ask(), headers=key())
            assert (answer.status_code, slug(answer)) == (503, "not-active")
            beat = await client.put(f"/v1/sessions/{session}/heartbeat")
            assert (beat.status_code, slug(beat)) == (503, "not-active")
            assert "journalctl" in beat.json()["remedy"]
        (error,) = server.failures
        assert "disk full" in str(error)
        server.failures.clear()
