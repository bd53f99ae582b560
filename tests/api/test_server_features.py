# SPDX-License-Identifier: Apache-2.0
"""Every kind of licence over the client API, through failovers where state must survive."""

import asyncio
import datetime as dt
import re
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.lending import borrower, update_file
from tests.support.tmr_system import (
    ALICE,
    BOB,
    FIRM,
    OLGA,
    System,
    Twin,
    ask,
    item,
    key,
    lasting_lease,
    running,
    scenario,
    until,
)
from tmr.client.borrowed import verify
from tmr.licensing import public_key_to_pem, raw_public_key


def now_ms() -> int:
    return round(time.time() * 1000)


def slug(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


async def takeover(system: System) -> Twin:
    """The active twin loses its VIP manager; gives the other one, once it serves."""
    first = system.active
    (second,) = [twin for twin in system.twins if twin is not first]
    first.vip.stop()
    await until(lambda: second.serves, "the other twin serves")
    first.vip.start()
    return second


async def served(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The answer of a server that may be busy for a while, or about to lose its term."""
    async with asyncio.timeout(90):
        while (answer := await ask()).status_code == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    return answer


async def open_session(client: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    header = key()
    answer = await served(lambda: client.post("/v1/sessions", json=ask(**members), headers=header))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def shown(client: httpx.AsyncClient) -> dict[str, Any]:
    containers = await served(lambda: client.get("/v1/containers"))
    serial = containers.json()["containers"][0]["serial"]
    items = await served(lambda: client.get(f"/v1/containers/{serial}/items"))
    (only,) = items.json()["items"]
    return dict(only)


# -- units -------------------------------------------------------------------------------------------------


@scenario
async def test_units_are_taken_once_over_retries_and_a_failover(tmp_path: Path) -> None:
    async with running(tmp_path, item(units=100)) as system:
        header = key()
        async with system.active.client() as client:
            session = await open_session(client, units=10)
            assert session["units_remaining"] == 90
            path = f"/v1/sessions/{session['id']}/units"
            answers = await asyncio.gather(
                *(client.post(path, json={"units": 7}, headers=header) for _ in range(5))
            )
            assert [answer.json()["remaining"] for answer in answers] == [83] * 5
        second = await takeover(system)
        async with second.client() as client:
            again = await client.post(path, json={"units": 7}, headers=header)
            assert (again.status_code, again.json()["remaining"]) == (200, 83)
            other = await client.post(path, json={"units": 8}, headers=header)
            assert (other.status_code, slug(other)) == (409, "conflicting-key")
            assert (await shown(client))["units_remaining"] == 83
            await client.delete(f"/v1/sessions/{session['id']}")
            late = await client.post(path, json={"units": 7}, headers=header)
            assert late.json()["remaining"] == 83, "a retry is answered after the session's end, too"


@scenario
async def test_too_many_units_are_refused_and_nothing_is_taken(tmp_path: Path) -> None:
    async with (
        running(tmp_path, item(units=5), item(2, product=2)) as system,
        system.active.client() as client,
    ):
        session = await open_session(client)
        path = f"/v1/sessions/{session['id']}/units"
        answer = await client.post(path, json={"units": 6}, headers=key())
        assert (answer.status_code, slug(answer)) == (409, "not-enough-units")
        assert "5" in answer.json()["detail"]
        together = await client.post("/v1/sessions", json=ask(units=6), headers=key())
        assert slug(together) == "not-enough-units"
        assert (
            system.active.agent.replicator.ledger.use(
                next(iter(system.active.agent.replicator.ledger.licences))
            ).seats
            == 1
        )
        assert (await client.post(path, json={"units": 5}, headers=key())).json()["remaining"] == 0
        plain = await open_session(client, product=2)
        answer = await client.post(f"/v1/sessions/{plain['id']}/units", json={"units": 1}, headers=key())
        assert slug(answer) == "not-enough-units"
        for wrong in ({"units": 0}, {"units": "3"}, {"units": 1, "more": 1}, {}):
            answer = await client.post(path, json=wrong, headers=key())
            assert (answer.status_code, slug(answer)) == (422, "bad-request")


@scenario
async def test_a_refill_adds_to_what_is_left(tmp_path: Path) -> None:
    async with running(tmp_path, item(units=5)) as system, system.active.client() as client:
        session = await open_session(client, units=5)
        for upstream in system.upstreams:
            upstream.hold(item(units=25))
        path = f"/v1/sessions/{session['id']}/units"
        ledger = system.active.agent.replicator.ledger
        await until(lambda: ledger.remaining(next(iter(ledger.licences.values())).item) == 20, "the refill")
        assert (await client.post(path, json={"units": 15}, headers=key())).json()["remaining"] == 5


# -- time --------------------------------------------------------------------------------------------------


@scenario
async def test_a_licence_before_its_activation_time(tmp_path: Path) -> None:
    begins = now_ms() + 3_000
    async with running(tmp_path, item(activation_ms=begins)) as system, system.active.client() as client:
        answer = await client.post("/v1/sessions", json=ask(), headers=key())
        assert (answer.status_code, slug(answer)) == (409, "licence-not-active")
        assert (await client.get("/v1/status")).json()["licences"][0]["state"] == "not-active"
        await until(lambda: system.active.agent.replicator.certified_ms() >= begins, "it becomes valid")
        await open_session(client)


@scenario
async def test_a_usage_period_starts_with_the_first_use(tmp_path: Path) -> None:
    async with running(tmp_path, item(usage_s=3)) as system:
        async with system.active.client() as client:
            assert (await shown(client))["first_use"] is None
            session = await open_session(client)
            ends = dt.datetime.fromisoformat(session["ends_at"])
            assert ends - dt.datetime.fromisoformat(session["granted_at"]) == dt.timedelta(seconds=3)
            assert session["warnings"]
        second = await takeover(system)
        async with second.client() as client:
            replicator = second.agent.replicator
            await until(lambda: replicator.certified_ms() >= ends.timestamp() * 1000, "the Usage Period ends")
            beat = await client.put(f"/v1/sessions/{session['id']}/heartbeat")
            assert slug(beat) == "licence-expired"
            answer = await client.post("/v1/sessions", json=ask(), headers=key())
            assert slug(answer) == "licence-expired"


@scenario
async def test_the_maintenance_period_looks_at_the_release_date(tmp_path: Path) -> None:
    start, end = 1_700_000_000_000, 1_750_000_000_000
    licence = item(maintenance_start_ms=start, maintenance_end_ms=end, quantity=None)
    async with running(tmp_path, licence) as system, system.active.client() as client:
        for ms, status in ((start - 1, 409), (start, 201), (end - 1, 201), (end, 409)):
            released = dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat()
            answer = await client.post("/v1/sessions", json=ask(released=released), headers=key())
            assert answer.status_code == status, (ms, answer.text)
            if status == 409:
                assert slug(answer) == "maintenance-ended"
        await open_session(client)
        answer = await client.post("/v1/sessions", json=ask(released="2025-01-01T00:00:00"), headers=key())
        assert answer.status_code == 422


@pytest.mark.parametrize("released", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.9999999Z"])
def test_no_release_date_reaches_the_journal_that_it_cannot_carry_out(tmp_path: Path, released: str) -> None:
    """Asked again by the same instance, when the journal alone decides."""

    @scenario
    async def run() -> None:
        licence = item(maintenance_start_ms=1_700_000_000_000, maintenance_end_ms=1_750_000_000_000)
        async with running(tmp_path, licence) as system, system.active.client() as client:
            await open_session(client, instance="line-3")
            wish = ask(instance="line-3", released=released)
            answer = await client.post("/v1/sessions", json=wish, headers=key())
            assert (answer.status_code, slug(answer)) == (409, "maintenance-ended")
            assert system.active.serves

    run()


@scenario
async def test_features_choose_the_licence_that_has_them(tmp_path: Path) -> None:
    async with (
        running(tmp_path, item(1, feature_map=0b001), item(2, feature_map=0b111)) as system,
        system.active.client() as client,
    ):
        assert (await open_session(client, features=0b001))["tmr_id"] == 1
        assert (await open_session(client, features=0b110))["tmr_id"] == 2
        answer = await client.post("/v1/sessions", json=ask(features=0b1001), headers=key())
        assert (answer.status_code, slug(answer)) == (409, "feature-missing")
        assert "3" in answer.json()["detail"]


@scenario
async def test_what_the_vendor_wrote_into_the_licence_is_read(tmp_path: Path) -> None:
    licence = item(text="for tests", customer="Works 7", user_data=b"\x00\xff", feature_map=5, borrow_s=60)
    async with running(tmp_path, licence) as system, system.active.client() as client:
        found = await shown(client)
        assert (found["text"], found["customer"], found["user_data"]) == ("for tests", "Works 7", "AP8=")
        assert (found["feature_map"], found["borrow_seconds"], found["borrowed"]) == (5, 60, 0)


# -- linger time, named users ------------------------------------------------------------------------------


@scenario
async def test_a_seat_lingers_over_a_failover_for_its_holder_alone(tmp_path: Path) -> None:
    async with running(tmp_path, item(1, quantity=1, linger_s=3600)) as system:
        async with system.active.client() as client:
            session = await open_session(client, user="ada", station="ws1")
            ended = await served(lambda: client.delete(f"/v1/sessions/{session['id']}"))
            assert ended.status_code == 204
        second = await takeover(system)
        async with second.client() as client:
            found = await shown(client)
            assert (found["in_use"], found["lingering"], found["linger_seconds"]) == (1, 1, 3600)
            other = ask(user="bob", station="ws1")
            refused = await served(lambda: client.post("/v1/sessions", json=other, headers=key()))
            assert slug(refused) == "no-more-licences"
            (holder,) = refused.json()["holders"]
            assert (holder["user"], holder["lingering"], holder["access_mode"]) == ("ada", True, None)
            assert holder["until"] == refused.json()["next_end"]
            await open_session(client, user="ada", station="ws1")
            assert (await shown(client))["lingering"] == 0


@scenario
async def test_a_named_user_takes_one_seat_on_all_stations(tmp_path: Path) -> None:
    async with (
        running(tmp_path, item(1, quantity=1, named_user=True)) as system,
        system.active.client() as client,
    ):
        for station in ("ws1", "ws2"):
            await open_session(client, user="ada", station=station)
        assert ((await shown(client))["in_use"], (await shown(client))["named_user"]) == (1, True)
        refused = await served(lambda: client.post("/v1/sessions", json=ask(user="bob"), headers=key()))
        assert [one["seats"] for one in refused.json()["holders"]] == [1, 0]


# -- emergency ---------------------------------------------------------------------------------------------


@scenario
async def test_an_emergency_licence_only_when_no_ordinary_one_is_free(tmp_path: Path) -> None:
    items = item(1, quantity=1), item(2, quantity=5, emergency=True, usage_s=3600)
    async with running(tmp_path, *items) as system:
        async with system.active.client() as client:
            first = await open_session(client)
            assert (first["tmr_id"], first["emergency"], first["warnings"]) == (1, False, [])
            second = await open_session(client)
            assert (second["tmr_id"], second["emergency"]) == (2, True)
            assert "emergency licence" in second["warnings"][0]
            missing = await client.post("/v1/sessions", json=ask(features=1), headers=key())
            assert slug(missing) == "feature-missing", "a wrong version is no emergency"
        other = await takeover(system)
        async with other.client() as client:
            await client.delete(f"/v1/sessions/{first['id']}")
            third = await open_session(client)
            assert (third["tmr_id"], third["emergency"]) == (1, False)
            fourth = await open_session(client)
            assert fourth["ends_at"] == second["ends_at"], "the Usage Period goes on from its first use"


# -- the queue ---------------------------------------------------------------------------------------------


@scenario
async def test_who_waits_is_served_in_turn_also_after_a_failover(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=1)) as system:
        headers = [key() for _ in range(3)]
        async with system.active.client() as client:
            held = await open_session(client)
            places = [
                await client.post("/v1/sessions", json=ask(wait=True, user=f"w{n}"), headers=header)
                for n, header in enumerate(headers)
            ]
            assert [place.status_code for place in places] == [202] * 3
            assert [place.json()["position"] for place in places] == [1, 2, 3]
            again = await client.post("/v1/sessions", json=ask(wait=True, user="w1"), headers=headers[1])
            assert (again.json()["id"], again.json()["position"], again.json()["waiting"]) == (
                places[1].json()["id"],
                2,
                3,
            )
            late = await client.post("/v1/sessions", json=ask(), headers=key())
            assert (slug(late), late.json()["waiting"]) == ("no-more-licences", 3)
            listed = (await client.get("/v1/sessions")).json()["queue"]
            assert [one["user"] for one in listed] == ["w0", "w1", "w2"]
            left = await client.delete(f"/v1/sessions/{places[0].json()['id']}")
            assert left.status_code == 204
        second = await takeover(system)
        async with second.client() as client:
            await client.delete(f"/v1/sessions/{held['id']}")
            granted = await client.post("/v1/sessions", json=ask(wait=True, user="w1"), headers=headers[1])
            assert (granted.status_code, granted.json()["id"]) == (201, places[1].json()["id"])
            beat = await client.put(f"/v1/sessions/{granted.json()['id']}/heartbeat")
            assert beat.status_code == 200
            still = await client.post("/v1/sessions", json=ask(wait=True, user="w2"), headers=headers[2])
            assert (still.status_code, still.json()["position"]) == (202, 1)
            gone = await client.post("/v1/sessions", json=ask(wait=True, user="w0"), headers=headers[0])
            assert slug(gone) == "session-lost"


@scenario
async def test_who_release_not_wait_any_longer_is_refused_or_has_the_seat(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=1, units=100)) as system, system.active.client() as client:
        held = await open_session(client)
        first, second = key(), key()
        places = [
            await client.post("/v1/sessions", json=ask(wait=True, units=16), headers=header)
            for header in (first, second)
        ]
        refused = await client.post("/v1/sessions", json=ask(units=16), headers=first)
        assert slug(refused) == "no-more-licences"
        assert refused.json()["holders"]
        assert list(system.active.agent.replicator.ledger.waiting) == [places[1].json()["id"]]
        await client.delete(f"/v1/sessions/{held['id']}")
        granted = await client.post("/v1/sessions", json=ask(units=16), headers=second)
        assert (granted.status_code, granted.json()["id"]) == (201, places[1].json()["id"])
        assert (await shown(client))["units_remaining"] == 84


@scenario
async def test_a_place_that_nobody_asks_for_is_given_up(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lasting_lease(patch)
        async with running(tmp_path, item(quantity=1)) as system, system.active.client() as client:
            await open_session(client)
            waiting = await client.post("/v1/sessions", json=ask(wait=True, ttl=5), headers=key())
            assert waiting.status_code == 202
            await until(lambda: not system.active.agent.replicator.ledger.waiting, "the place is given up")


@scenario
async def test_waiting_for_what_can_never_be_had_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client() as client:
        answer = await client.post("/v1/sessions", json=ask(wait=True, features=8), headers=key())
        assert slug(answer) == "feature-missing"
        answer = await client.post("/v1/sessions", json=ask(99, wait=True), headers=key())
        assert slug(answer) == "entry-not-found"


# -- borrowing ---------------------------------------------------------------------------------------------


@scenario
async def test_a_seat_is_borrowed_used_offline_and_given_back(tmp_path: Path) -> None:
    vendor, lender = Ed25519PrivateKey.generate(), borrower()
    der = ssl.PEM_cert_to_DER_cert(lender.certificate.decode())
    licence = item(quantity=2, borrow_s=86_400, borrow_seats=1, feature_map=0b11)
    async with running(tmp_path) as system:
        update = update_file(vendor, [upstream.box for upstream in system.upstreams], [licence])
        for upstream in system.upstreams:
            upstream.activate(raw_public_key(vendor), update)
        ledger = system.active.agent.replicator.ledger
        await until(lambda: licence.key in ledger.licences, "the update is assembled")
        header, wish = key(), {**ask(), "seconds": 3600}
        system.upstreams[1].cut()
        async with system.active.client(ALICE, der) as alice, system.active.client(BOB, der) as bob:
            first = await alice.post("/v1/borrowings", json=wish, headers=header)
            assert first.status_code == 201, first.text
            again = await alice.post("/v1/borrowings", json=wish, headers=header)
            assert again.json()["id"] == first.json()["id"]
            more = await alice.post("/v1/borrowings", json=wish, headers=key())
            assert (slug(more), "1 of 1" in more.json()["detail"]) == ("borrow-failed", True)
            longer = await alice.post("/v1/borrowings", json={**wish, "seconds": 90_000}, headers=key())
            assert longer.json()["detail"].endswith("can be borrowed for 1d, not for 25h.")
            assert longer.json()["remedy"] == "Borrow for 1d at most, or ask the vendor."
            assert more.json()["remedy"].startswith("Wait until a borrowed seat comes back")
            path = f"/v1/borrowings/{first.json()['id']}"
            file = (await alice.get(f"{path}/file")).content
            for refused in (await bob.get(f"{path}/file"), await bob.delete(path)):
                assert (refused.status_code, slug(refused)) == (403, "access-denied")
            found = verify(
                file,
                vendor_key=public_key_to_pem(raw_public_key(vendor)),
                certificate=lender.certificate,
                key=lender.key,
                now=dt.datetime.now(dt.UTC),
            )
            assert (found.borrow, found.feature_map, found.client) == (first.json()["id"], 0b11, "alice")
            session = await open_session(alice)
            assert session["in_use"] == 2
            full = await alice.post("/v1/sessions", json=ask(), headers=key())
            assert slug(full) == "no-more-licences"
            lent = next(one for one in full.json()["holders"] if one["access_mode"] is None)
            assert lent["until"] == full.json()["next_end"] == first.json()["until"]
        second = await takeover(system)
        async with second.client(ALICE, der) as alice, second.client(OLGA) as olga:
            assert [one["id"] for one in (await olga.get("/v1/borrowings")).json()["borrowings"]] == [
                found.borrow
            ]
            assert (await alice.delete(path)).status_code == 204
            assert (await alice.delete(path)).status_code == 204
            assert (await alice.get("/v1/borrowings")).json()["borrowings"] == []
            gone = await alice.get(f"{path}/file")
            assert (gone.status_code, slug(gone)) == (404, "borrowing-ended")
            await open_session(alice)


@scenario
async def test_a_borrowing_needs_a_licence_that_can_be_borrowed_and_a_certificate(tmp_path: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(borrower().certificate.decode())
    async with running(tmp_path, item(), item(2, product=2, borrow_s=86_400)) as system:
        wish = {**ask(), "seconds": 3600}
        async with system.active.client(ALICE, der) as alice, system.active.client(ALICE) as nobody:
            answer = await alice.post("/v1/borrowings", json=wish, headers=key())
            assert (answer.status_code, slug(answer)) == (409, "borrow-failed")
            answer = await nobody.post("/v1/borrowings", json={**wish, "product_code": 2}, headers=key())
            assert "certificate" in answer.json()["detail"]
            # these containers took no update that they could show to the borrower
            lent = await alice.post("/v1/borrowings", json={**wish, "product_code": 2}, headers=key())
            answer = await alice.get(f"/v1/borrowings/{lent.json()['id']}/file")
            assert (answer.status_code, slug(answer)) == (409, "borrow-not-signed")
            assert "update" in answer.json()["detail"]


# -- one instance, and ends --------------------------------------------------------------------------------


@scenario
async def test_the_same_instance_gets_its_seat_back_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=1)) as system, system.active.client() as client:
        first = await open_session(client, instance="line-3")
        second = await open_session(client, instance="line-3")
        assert second["in_use"] == 1
        lost = await client.put(f"/v1/sessions/{first['id']}/heartbeat")
        assert (lost.status_code, slug(lost)) == (404, "session-lost")
        assert (lost.json()["ended"]["by"], lost.json()["ended"]["who"]) == ("replaced", second["id"])
        other = await client.post("/v1/sessions", json=ask(instance="line-4"), headers=key())
        assert slug(other) == "no-more-licences"


@scenario
async def test_an_operator_ends_a_session_and_its_client_is_told(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        active = system.active
        async with active.client(ALICE) as alice, active.client(OLGA) as olga, active.client(BOB) as bob:
            session = (await open_session(alice))["id"]
            assert (await olga.delete(f"/v1/sessions/{session}")).status_code == 204
            lost = await alice.put(f"/v1/sessions/{session}/heartbeat")
            assert "operator olga ended it" in lost.json()["detail"]
            many = await alice.post("/v1/heartbeats", json={"sessions": [session]})
            assert many.json()["ended"][0]["by"] == "operator"
            stranger = await bob.put(f"/v1/sessions/{session}/heartbeat")
            assert "ended" not in stranger.json(), "how another's session ended is nobody's business"


# -- the access list ---------------------------------------------------------------------------------------

NORTH = {"name": "north", "effect": "allow", "who": {"groups": ["north"]}}
GROUPS = {"north": {"users": ["anna", "press-*"], "networks": ["10.1.0.0/16"]}}


@scenario
async def test_a_refused_client_is_told_by_which_rule(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        active = system.active
        async with active.client(ALICE) as alice, active.client(OLGA) as olga:
            wanted = {"version": 0, "rules": [NORTH], "groups": GROUPS}
            put = await olga.put("/v1/access", json=wanted)
            assert (put.status_code, put.json()["version"]) == (200, 1)
            assert (await olga.put("/v1/access", json=wanted)).json()["version"] == 1, "a retry"
            refusal = await alice.post("/v1/sessions", json=ask(user="bert"), headers=key())
            problem = refusal.json()
            assert (refusal.status_code, problem["code"], problem["rule"]) == (403, 231, "north")
            await open_session(alice, user="press-7")
            assert (await alice.get("/v1/access")).status_code == 403
        second = await takeover(system)
        async with second.client(ALICE) as alice, second.client(OLGA) as olga:
            refusal = await alice.post("/v1/sessions", json=ask(user="bert"), headers=key())
            assert refusal.json()["rule"] == "north"
            found = (await olga.get("/v1/access")).json()
            assert (found["version"], found["rules"][0]["name"]) == (1, "north")
            stale = await olga.put("/v1/access", json={"version": 0, "rules": []})
            assert (stale.status_code, slug(stale)) == (409, "access-list-changed")
            assert (await olga.put("/v1/access", json={"version": 1})).json() == {
                "version": 2,
                "rules": [],
                "groups": {},
            }
            await open_session(alice, user="bert")


@scenario
async def test_seats_are_reserved_and_limited(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=4)) as system:
        active = system.active
        async with active.client(ALICE) as alice, active.client(OLGA) as olga:
            rules = [
                {"name": "keep-2", "effect": "reserve", "seats": 2, "who": {"users": ["anna"]}},
                {"name": "at-most-1", "effect": "limit", "seats": 1, "who": {"hosts": ["CAD-*"]}},
            ]
            assert (await olga.put("/v1/access", json={"version": 0, "rules": rules})).status_code == 200
            await open_session(alice, user="bert", station="cad-1")
            second = await alice.post("/v1/sessions", json=ask(user="bert", station="cad-2"), headers=key())
            assert (second.json()["code"], second.json()["rule"]) == (231, "at-most-1")
            await open_session(alice, user="bert", station="lab-1")
            third = await alice.post("/v1/sessions", json=ask(user="bert", station="lab-2"), headers=key())
            assert (third.json()["rule"], len(third.json()["holders"])) == ("keep-2", 2)
            for station in ("lab-3", "lab-4"):
                await open_session(alice, user="anna", station=station)
            full = await alice.post("/v1/sessions", json=ask(user="anna", station="lab-5"), headers=key())
            assert slug(full) == "no-more-licences"


@scenario
async def test_a_list_with_mistakes_names_them_all_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system, system.active.client(OLGA) as olga:
        wrong = {
            "version": 0,
            "rules": [
                {"name": "a", "effect": "limit"},
                {"name": "a", "effect": "deny", "who": {"groups": ["nowhere"]}},
                {"name": "b", "effect": "deny", "who": {"networks": ["10.1.0.1/16"]}},
            ],
        }
        for path in ("/v1/access", "/v1/access?check=true"):
            answer = await olga.put(path, json=wrong)
            assert (answer.status_code, slug(answer)) == (422, "bad-request")
            said = " ".join(answer.json()["mistakes"])
            for what in ("seats", "nowhere", "another rule has this name", "10.1.0.1/16"):
                assert what in said
        good = {"version": 0, "rules": [{"name": "a", "effect": "deny", "who": {"users": ["x"]}}]}
        assert (await olga.put("/v1/access?check=true", json=good)).status_code == 200
        assert (await olga.get("/v1/access")).json() == {"version": 0, "rules": [], "groups": {}}


# -- explanations ------------------------------------------------------------------------------------------


@scenario
async def test_explain_says_what_would_happen_and_why(tmp_path: Path) -> None:
    items = item(1, quantity=1), item(2, quantity=1, feature_map=1, units=9)
    async with running(tmp_path, *items) as system:
        active = system.active
        async with active.client(ALICE) as alice, active.client(OLGA) as olga:
            await open_session(alice, user="anna", tmr_id=1)
            system.upstreams[2].cut()
            await until(lambda: not active.agent.replicator.twin.replicas[2].reachable, "up3 is away")
            answer = (await alice.post("/v1/explain", json=ask())).json()
            assert answer["granted"] is True
            full, free = answer["licences"]
            assert (full["granted"], full["problem"]) == (False, "no-more-licences")
            assert full["holders"][0]["user"] == "anna"
            assert [one["state"] for one in full["constituents"]] == ["available", "available", "unreachable"]
            assert (free["granted"], free["units_remaining"]) == (True, 9)
            answer = (await alice.post("/v1/explain", json=ask(tmr_id=1, borrow_seconds=60))).json()
            assert (answer["granted"], answer["problem"]) == (False, "borrow-failed")
            assert not active.agent.replicator.ledger.borrowings
            foreign = await alice.post("/v1/explain", json=ask(client="bob"))
            assert (foreign.status_code, slug(foreign)) == (403, "wrong-role")
            rules = [{"name": "no-bob", "effect": "deny", "who": {"certificates": ["bob"]}}]
            assert (await olga.put("/v1/access", json={"version": 0, "rules": rules})).status_code == 200
            answer = (await olga.post("/v1/explain", json=ask(client="bob"))).json()
            assert (answer["granted"], answer["licences"][1]["rule"]) == (False, "no-bob")
            answer = (await alice.post("/v1/explain", json=ask(99))).json()
            assert (answer["granted"], answer["problem"], answer["licences"]) == (
                False,
                "entry-not-found",
                [],
            )


@scenario
async def test_refusals_reach_the_record_as_one_line(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=1)) as system:
        active = system.active
        async with active.client() as client:
            await open_session(client)
            before = active.agent.replicator.ledger.heads[FIRM].seq
            for _ in range(20):
                await client.post("/v1/sessions", json=ask(), headers=key())
            await until(lambda: active.agent.replicator.ledger.heads[FIRM].seq > before, "they are recorded")
            assert active.agent.replicator.ledger.heads[FIRM].seq == before + 1


@pytest.mark.parametrize("members", [{"wait": 1}, {"features": -1}, {"units": -1}, {"instance": "x\n"}])
def test_ill_formed_members_are_named(tmp_path: Path, members: dict[str, Any]) -> None:
    @scenario
    async def run() -> None:
        async with running(tmp_path, item()) as system, system.active.client() as client:
            answer = await client.post("/v1/sessions", json=ask(**members), headers=key())
            assert (answer.status_code, slug(answer)) == (422, "bad-request")
            assert next(iter(members)) in answer.json()["detail"]

    run()


@scenario
async def test_another_tmr_id_under_the_same_key_is_another_request(tmp_path: Path) -> None:
    async with running(tmp_path, item(1), item(2)) as system, system.active.client() as client:
        header = key()
        first = await client.post("/v1/sessions", json=ask(tmr_id=1), headers=header)
        assert first.status_code == 201
        other = await client.post("/v1/sessions", json=ask(tmr_id=2), headers=header)
        assert (other.status_code, slug(other)) == (409, "conflicting-key")


def nobody_waits(system: System) -> Callable[[], bool]:
    """The queue is empty."""
    return lambda: not system.active.agent.replicator.ledger.waiting


@scenario
async def test_who_waits_is_served_when_a_licence_becomes_valid(tmp_path: Path) -> None:
    """A slow machine needs longer to come so far: then once more, with a licence that begins later."""
    for seconds in (3, 20, 100):
        items = item(1, quantity=1), item(2, quantity=1, activation_ms=now_ms() + 1000 * seconds)
        directory = tmp_path / str(seconds)
        directory.mkdir()
        async with running(directory, *items) as system, system.active.client() as client:
            await open_session(client)
            header = key()
            place = await client.post("/v1/sessions", json=ask(wait=True, ttl=200), headers=header)
            if place.status_code == 201:
                continue
            assert place.status_code == 202, place.text
            await until(nobody_waits(system), "the licence becomes valid", patience=2 * seconds + 60)
            granted = await client.post("/v1/sessions", json=ask(wait=True, ttl=200), headers=header)
            assert (granted.status_code, granted.json()["in_use"]) == (201, 1)
            return
    pytest.fail("the licence began before anybody could wait")


@scenario
async def test_an_emergency_licence_in_use_is_an_alarm_and_a_metric(tmp_path: Path) -> None:
    licence = item(1, emergency=True, usage_s=3600, units=9, borrow_s=None)
    async with running(tmp_path, licence) as system, system.active.client() as client:
        await open_session(client, units=2)
        status = (await client.get("/v1/status")).json()
        assert any("emergency licence" in alarm for alarm in status["alarms"])
        text = (await client.get("/metrics")).text
        for name, value in (("tmr_emergency_in_use", 1), ("tmr_units_remaining", 7)):
            found = re.findall(rf"^{name}{{(.*)}} (.*)$", text, re.MULTILINE)
            assert [float(seen) for _, seen in found] == [value]
            assert f'firm_code="{FIRM}"' in found[0][0]
