# SPDX-License-Identifier: Apache-2.0
"""Checkouts from a TMR system, over HTTPS with a client's certificate."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from bench.load.job import Target
from testbed.http import Connection

STRIDE = 61
"""Products from one checkout of a station to its next: prime, so that all have their turn."""
TURNED_AWAY = 503
"""HTTP status: the server does not serve, or has too much to do. To be tried again."""
JSON = "content-type: application/json\r\n"


Action = Callable[[], Awaitable[None]]
"""One operation of one client. Raises where it was not carried out as asked."""


class Refused(RuntimeError):
    """The request was not carried out: `status` is HTTP's."""

    def __init__(self, what: str, status: int, answer: bytes) -> None:
        super().__init__(f"{what} answered with {status}: {answer[:500]!r}")
        self.status = status


class Session(msgspec.Struct):
    """Part of the answer to a checkout that is needed."""

    id: str


_session = msgspec.json.Decoder(Session)


def wish(target: Target, station: int, turn: int = 0, ttl: int = 600) -> dict[str, object]:
    """The body of a station's checkout; in each turn it wants another product."""
    return {
        "firm_code": target.firm_code,
        "product_code": target.product_code + (station + turn) % target.products,
        "station": f"station-{station}",
        "ttl": ttl,
    }


def tls(target: Target) -> ssl.SSLContext:
    """Of the client that the target names."""
    context = ssl.create_default_context(cafile=target.ca)
    context.load_cert_chain(target.certificate, target.key)
    return context


async def pairs(target: Target, clients: int) -> Sequence[Action]:
    """Checkout and release in turn, each an operation: both are durable before they are answered."""
    context = tls(target)
    connections = [await Connection.open(target.port, context, target.name) for _ in range(clients)]
    return [pair(connection, target, number) for number, connection in enumerate(connections)]


def pair(connection: Connection, target: Target, station: int) -> Action:
    """One station's. What was refused is asked for again the next time."""
    held: list[str] = []
    turn = 0

    async def action() -> None:
        nonlocal turn
        if held:
            status, answer = await connection.ask("DELETE", f"/v1/sessions/{held[0]}")
            if status != 204:
                raise Refused("release", status, answer)
            held.clear()
            return
        held.append(await checkout(connection, wish(target, station, turn)))
        turn += STRIDE

    return action


async def checkout(connection: Connection, wanted: dict[str, object]) -> str:
    """The id of a new session. Raises Refused."""
    headers = f"{JSON}idempotency-key: {uuid.uuid4().hex}\r\n"
    status, answer = await connection.ask("POST", "/v1/sessions", msgspec.json.encode(wanted), headers)
    if status != 201:
        raise Refused("checkout", status, answer)
    return _session.decode(answer).id


async def heartbeats(target: Target, clients: int, batch: int) -> Sequence[Action]:
    """Each client keeps `batch` sessions alive with one request."""
    context = tls(target)
    actions: list[Action] = []
    for number in range(clients):
        connection = await Connection.open(target.port, context, target.name)
        wanted = {**wish(target, number), "process": "bench"}
        actions.append(beat(connection, [await checkout(connection, wanted) for _ in range(batch)]))
    return actions


def beat(connection: Connection, sessions: Sequence[str]) -> Action:
    """One request that keeps the sessions alive. Raises Refused unless all of them live."""
    body = msgspec.json.encode({"sessions": sessions})

    async def action() -> None:
        status, answer = await connection.ask("POST", "/v1/heartbeats", body, JSON)
        if status != 200 or len(msgspec.json.decode(answer)["alive"]) != len(sessions):
            raise Refused("heartbeats", status, answer)

    return action
