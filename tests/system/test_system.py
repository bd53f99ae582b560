# SPDX-License-Identifier: Apache-2.0
"""The story of a TMR system, played by real processes over real TLS, with real faults."""

import logging
import signal
import threading
import time
from typing import Any

import httpx
import pytest

from testbed.loopback import FIRM, TTL, Machines, Twin, body, key, until
from tmr.licensing import Licence

log = logging.getLogger(__name__)


def grant(machines: Machines, twin: Twin, product: int, **members: Any) -> dict[str, Any]:
    """A session of this twin. A silent one is asked again with the same key, as clients do."""
    wanted = key()

    def granted() -> dict[str, Any] | None:
        answer = machines.client(twin).post("/v1/sessions", json=body(product, **members), headers=wanted)
        assert answer.status_code in (201, 503), answer.text
        session: dict[str, Any] = answer.json()
        return session if answer.status_code == 201 else None

    session: dict[str, Any] = until(granted, f"{twin.name} grants a session")
    return session


def beats(machines: Machines, twin: Twin, session: str) -> bool:
    """The session lives, as this twin says."""
    return machines.client(twin).put(f"/v1/sessions/{session}/heartbeat").status_code == 200


def in_use(machines: Machines, twin: Twin, product: int) -> int:
    status = machines.status(twin)
    assert status is not None
    (used,) = [one["in_use"] for one in status["licences"] if one["product_code"] == product]
    return int(used)


def takes_over(machines: Machines, twin: Twin, began: float) -> None:
    """Wait until `twin` serves, and log how long the system was without an active twin."""
    until(lambda: machines.active_now() is twin, f"{twin.name} serves", pause=0.005)
    log.info("%s serves after %.0f ms", twin.name, 1000 * (time.monotonic() - began))


def test_a_new_system_founds_itself_and_shows_an_activated_licence(machines: Machines) -> None:
    twin = machines.serve(product=1, quantity=2)
    client = machines.client(twin)
    (container,) = client.get("/v1/containers").json()["containers"]
    assert container["serial"].startswith("131-")
    assert all(one["container"].startswith("130-") for one in container["upstreams"])
    items = client.get(f"/v1/containers/{container['serial']}/items").json()["items"]
    (shown,) = [one for one in items if one["product_code"] == 1]
    assert (shown["firm_code"], shown["quantity"], shown["in_use"]) == (FIRM, 2, 0)
    assert until(lambda: twin.vip.epoch, "the address is held") == container["epoch"]


def test_seats_to_the_limit_an_explained_refusal_and_a_retry(machines: Machines) -> None:
    twin = machines.serve(product=2, quantity=2)
    client, header = machines.client(twin), key()
    first = client.post("/v1/sessions", json=body(2, user="anna"), headers=header).json()
    assert client.post("/v1/sessions", json=body(2, user="anna"), headers=header).json()["id"] == first["id"]
    second = grant(machines, twin, 2, user="bert")
    refusal = machines.client(twin, "bob").post("/v1/sessions", json=body(2), headers=key())
    assert refusal.status_code == 409
    problem = refusal.json()
    assert (problem["code"], [holder["user"] for holder in problem["holders"]]) == (212, ["anna", "bert"])
    assert beats(machines, twin, first["id"])
    both = client.post("/v1/heartbeats", json={"sessions": [first["id"], second["id"]]})
    assert both.json()["alive"] == [first["id"], second["id"]]
    assert client.delete(f"/v1/sessions/{first['id']}").status_code == 204
    assert machines.client(twin, "bob").post("/v1/sessions", json=body(2), headers=key()).status_code == 201


def test_kill_9_of_the_active_and_the_session_lives_on(machines: Machines) -> None:
    first = machines.serve(product=3, quantity=1)
    second, header = machines.other(first), key()
    granted = machines.client(first).post("/v1/sessions", json=body(3), headers=header).json()
    until(lambda: first.vip.epoch, "the address is held")
    began = time.monotonic()
    first.kill()
    takes_over(machines, second, began)
    assert beats(machines, second, granted["id"])
    again = machines.client(second).post("/v1/sessions", json=body(3), headers=header).json()
    assert again["id"] == granted["id"]
    assert in_use(machines, second, 3) == 1
    assert again["epoch"] > granted["epoch"]
    assert machines.whole() is second, "who returns stays passive"
    time.sleep(2 * TTL)
    assert machines.active() is second


def test_a_frozen_active_answers_nothing_from_its_old_term(machines: Machines) -> None:
    first = machines.serve(product=4, quantity=5)
    second = machines.other(first)
    granted = grant(machines, first, 4)
    first.signal(signal.SIGSTOP)
    late: list[httpx.Response] = []
    calls = [
        ("PUT", f"/v1/sessions/{granted['id']}/heartbeat", None),
        ("POST", "/v1/sessions", body(4)),
        ("DELETE", f"/v1/sessions/{granted['id']}", None),
        ("GET", "/v1/containers", None),
    ]

    def call(method: str, path: str, content: dict[str, Any] | None) -> None:
        with httpx.Client(
            verify=machines.client_context("alice"), base_url=f"https://127.0.0.1:{first.port}", timeout=30
        ) as client:
            late.append(client.request(method, path, json=content, headers=key()))

    threads = [threading.Thread(target=call, args=one) for one in calls]
    try:
        for thread in threads:
            thread.start()
        began = time.monotonic()
        until(lambda: machines.status_of(second)["lease_remaining_ms"], "the other twin serves")
        log.info("%s serves after %.0f ms", second.name, 1000 * (time.monotonic() - began))
        assert beats(machines, second, granted["id"])
    finally:
        first.signal(signal.SIGCONT)
    for thread in threads:
        thread.join(30)
    assert [answer.status_code for answer in late] == [503] * len(calls), [one.text for one in late]
    assert {answer.json()["type"] for answer in late} == {"urn:tmr:problem:not-active"}
    assert in_use(machines, second, 4) == 1
    assert machines.whole() is second


def test_one_upstream_lost_two_lost_and_back(machines: Machines) -> None:
    twin = machines.serve(product=5, quantity=5)
    granted = grant(machines, twin, 5)
    up1, up2, up3 = machines.upstreams
    up3.kill()
    until(lambda: not machines.status_of(twin)["upstreams"][2]["reachable"], "up3 is missed")
    assert beats(machines, twin, granted["id"])
    assert grant(machines, twin, 5)["in_use"] == 2
    up1.kill()
    until(lambda: machines.active_now() is None, "nobody serves")
    for one in machines.twins:

        def refused(one: Twin = one) -> dict[str, Any] | None:
            answer = machines.client(one).post("/v1/sessions", json=body(5), headers=key())
            problem: dict[str, Any] = answer.json()
            return problem if problem["type"] == "urn:tmr:problem:no-quorum" else None

        problem = until(refused, f"{one.name} says that there is no majority")
        (away,) = [licence for licence in problem["unavailable"] if licence["product_code"] == 5]
        states = {constituent["upstream"]: constituent["state"] for constituent in away["constituents"]}
        assert states == {"up1": "unreachable", "up2": "available", "up3": "unreachable"}
        assert "up1" in problem["detail"]
    up1.start()
    back = machines.active()
    until(lambda: beats(machines, back, granted["id"]), "the session lives")
    assert grant(machines, back, 5)["in_use"] == 3
    up3.start()
    machines.whole()
    up2.kill()
    until(machines.active_now, "any two serve")
    assert grant(machines, machines.active(), 5)["in_use"] == 4


def test_a_switchover_is_answered_and_loses_nothing(machines: Machines) -> None:
    first = machines.serve(product=6, quantity=None)
    second = machines.other(first)
    granted = grant(machines, first, 6)
    machines.ready(second)
    header = [key() for _ in range(40)]
    answers: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(
            verify=machines.client_context("alice"), base_url=f"https://127.0.0.1:{first.port}", timeout=10
        ) as client:
            answers.extend(client.post("/v1/sessions", json=body(6), headers=one) for one in header)

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: len(answers) > 5, "requests are under way", pause=0.001)
    assert machines.client(first).post("/v1/operator/switchover").status_code == 403
    began = time.monotonic()
    answer = machines.client(first, "olga").post("/v1/operator/switchover")
    assert (answer.status_code, answer.json()) == (202, {"from": first.name})
    machines.other_serves(first)
    log.info("%s serves after %.0f ms", second.name, 1000 * (time.monotonic() - began))
    asking.join(30)
    assert {answer.status_code for answer in answers} <= {201, 503}
    known = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    for one in header:
        assert machines.client(second).post("/v1/sessions", json=body(6), headers=one).status_code == 201
    held = [session["id"] for session in machines.client(second).get("/v1/sessions").json()["sessions"]]
    assert {*known, granted["id"]} <= set(held)
    assert in_use(machines, second, 6) == 1 + len(header)
    operations = [command["op"] for command in first.vip.commands]
    assert operations[-1] == "drop"
    assert machines.whole() is second


def test_an_orderly_stop_hands_over(machines: Machines) -> None:
    first = machines.serve(product=7, quantity=1)
    second = machines.other(first)
    granted = grant(machines, first, 7)
    stopped = threading.Thread(target=lambda: codes.append(first.terminate()))
    codes: list[int] = []
    began = time.monotonic()
    stopped.start()
    takes_over(machines, second, began)
    stopped.join(20)
    assert codes == [0]
    assert beats(machines, second, granted["id"])
    assert first.vip.commands[-1]["op"] == "drop"
    assert machines.whole() is second


def test_a_silent_session_expires_for_good(machines: Machines) -> None:
    twin = machines.serve(product=8, quantity=1)
    granted = grant(machines, twin, 8, ttl=5)
    until(lambda: in_use(machines, twin, 8) == 0, "the seat is free again")
    answer = machines.client(twin).put(f"/v1/sessions/{granted['id']}/heartbeat")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:tmr:problem:session-lost")


def test_all_five_lose_power_and_nothing_acknowledged_is_lost(machines: Machines) -> None:
    twin = machines.serve(product=9, quantity=9)
    granted = [grant(machines, twin, 9)["id"] for _ in range(3)]
    for daemon in (*machines.upstreams, *machines.twins):
        daemon.kill()
    twin = machines.whole()
    assert in_use(machines, twin, 9) == 3
    assert all(beats(machines, twin, session) for session in granted)


def test_an_update_for_a_second_licence_appears_without_a_restart(machines: Machines) -> None:
    twin = machines.serve(product=10, quantity=1)
    machines.activate(Licence(product_code=10, quantity=1))
    grant(machines, twin, 10)
    second = until(
        lambda: machines.client(twin).post("/v1/sessions", json=body(10), headers=key()).status_code == 201,
        "the second TMR-Id is used",
    )
    assert second


@pytest.mark.parametrize("who", ["alice", "olga"])
def test_an_upstream_refuses_a_licence_outside_the_system(machines: Machines, who: str) -> None:
    machines.whole()
    with httpx.Client(verify=machines.client_context(who), timeout=10) as client:
        url = f"https://127.0.0.1:{machines.upstreams[0].port}/v1/sessions"
        answer = client.post(url, json=body(1), headers=key())
    assert answer.status_code == 403
    if who == "alice":
        assert answer.json()["type"] == "urn:tmr:problem:tmr-id-outside-tmr"
