# SPDX-License-Identifier: Apache-2.0
"""Random faults under load: clients see pauses, never an error, and never more seats than the licence has."""

import logging
import random
import signal
import threading
import time

import httpx

from testbed.loopback import TTL, Machines, body, key, until

log = logging.getLogger(__name__)

SEATS = 2
CLIENTS = 5
FAULTS = 12
PRODUCT = 90
PASSING = {"not-active", "no-quorum", "licence-unavailable", "overloaded"}


class Client(threading.Thread):
    """Takes a seat, uses it for a while, gives it back; asks both twins until one answers."""

    def __init__(self, number: int, machines: Machines, seats: "Seats", stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.error: Exception | None = None
        self._random = random.Random(number)
        self._stopping = stop
        self._seats = seats
        self._station = f"station-{number}"
        self._twins = [
            httpx.Client(
                verify=machines.client_context("alice"), base_url=f"https://127.0.0.1:{twin.port}", timeout=2
            )
            for twin in machines.twins
        ]

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._use()
        except Exception as error:
            self.error = error
        finally:
            for twin in self._twins:
                twin.close()

    def _use(self) -> None:
        answer = self._ask("POST", "/v1/sessions", 201, 409)
        if answer.status_code == 409:
            time.sleep(0.02)
            return
        session = answer.json()["id"]
        self._seats.taken(session)
        for _ in range(self._random.randint(0, 8)):
            time.sleep(0.02)
            self._ask("PUT", f"/v1/sessions/{session}/heartbeat", 200)
        self._seats.given_back(session)
        self._ask("DELETE", f"/v1/sessions/{session}", 204)

    def _ask(self, method: str, path: str, *expected: int) -> httpx.Response:
        """One request, repeated with the same key until a twin gives a definite answer."""
        content = body(PRODUCT, station=self._station) if method == "POST" else None
        headers = key()
        end = time.monotonic() + 40
        while time.monotonic() < end:
            for twin in self._twins:
                try:
                    answer = twin.request(method, path, json=content, headers=headers)
                except httpx.TransportError:
                    continue
                if answer.status_code in expected:
                    return answer
                told = f"{method} {path}: {answer.status_code} {answer.text}"
                assert answer.headers.get("content-type") == "application/problem+json", told
                assert answer.json()["type"].rpartition(":")[2] in PASSING, told
            time.sleep(0.03)
        raise AssertionError(f"{method} {path}: nobody answered")


class Seats:
    """Who holds a seat, as the clients see it."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self.most = 0
        self.granted = 0

    def taken(self, session: str) -> None:
        with self._lock:
            assert session not in self._held
            self._held.add(session)
            self.granted += 1
            self.most = max(self.most, len(self._held))

    def given_back(self, session: str) -> None:
        with self._lock:
            self._held.remove(session)


def test_clients_see_pauses_and_never_an_error(machines: Machines) -> None:
    machines.serve(product=PRODUCT, quantity=SEATS)
    seed = random.randrange(2**32)
    log.info("seed %d", seed)
    chance = random.Random(seed)
    seats, stop = Seats(), threading.Event()
    clients = [Client(number, machines, seats, stop) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        for number in range(FAULTS):
            before = seats.granted
            victim = chance.choice([*machines.twins, *machines.upstreams])
            fault = chance.choice(("kill", "freeze", "switchover", "stop"))
            log.info("fault %d: %s %s", number, fault, victim.config.parent.name)
            match fault:
                case "kill":
                    victim.kill()
                    time.sleep(chance.random())
                case "freeze":
                    victim.signal(signal.SIGSTOP)
                    time.sleep(chance.uniform(0, 2.5 * TTL))
                    victim.signal(signal.SIGCONT)
                case "switchover":
                    machines.switch_over()
                case "stop":
                    assert victim.terminate() == 0
            machines.whole()
            until(
                lambda before=before: seats.granted > before or any(client.error for client in clients),  # type: ignore[misc]
                "seats are granted again",
            )
    finally:
        stop.set()
        for client in clients:
            client.join(60)
    assert [client.error for client in clients if client.error] == []
    assert not any(client.is_alive() for client in clients)
    log.info("%d seats granted, at most %d at a time", seats.granted, seats.most)
    assert 0 < seats.most <= SEATS
    status = machines.status_of(machines.whole())
    (used,) = [one["in_use"] for one in status["licences"] if one["product_code"] == PRODUCT]
    assert used == 0
