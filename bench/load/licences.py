"""Checkouts from a TMR system, over HTTPS with a client's certificate."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Sequence

import msgspec

from bench.load.drive import Action
from bench.load.http import Connection


class Target(msgspec.Struct):
    """The active twin, and who asks it."""

    port: int
    name: str
    certificate: str
    key: str
    ca: str
    firm_code: int
    product_code: int


class _Session(msgspec.Struct):
    id: str


_session = msgspec.json.Decoder(_Session)


def _tls(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=target.ca)
    context.load_cert_chain(target.certificate, target.key)
    return context


async def pairs(target: Target, clients: int) -> Sequence[Action]:
    """Checkout and release in turn, each an operation: both are durable before they are answered."""
    tls = _tls(target)
    return [_pair(await Connection.open(target.port, tls, target.name), target, n) for n in range(clients)]


def _pair(connection: Connection, target: Target, number: int) -> Action:
    body = msgspec.json.encode(
        {
            "firm_code": target.firm_code,
            "product_code": target.product_code,
            "station": f"station-{number}",
            "ttl": 600,
        }
    )
    held: list[str] = []

    async def action() -> None:
        if held:
            status, _ = await connection.ask("DELETE", f"/v1/sessions/{held.pop()}")
            if status != 204:
                raise RuntimeError(f"release answered with {status}")
            return
        headers = f"content-type: application/json\r\nidempotency-key: {uuid.uuid4().hex}\r\n"
        status, answer = await connection.ask("POST", "/v1/sessions", body, headers)
        if status != 201:
            raise RuntimeError(f"checkout answered with {status}: {answer!r}")
        held.append(_session.decode(answer).id)

    return action


async def heartbeats(target: Target, clients: int, batch: int = 100) -> Sequence[Action]:
    """Each client keeps `batch` sessions alive with one request."""
    tls = _tls(target)
    actions: list[Action] = []
    for number in range(clients):
        connection = await Connection.open(target.port, tls, target.name)
        sessions: list[str] = []
        for one in range(batch):
            body = msgspec.json.encode(
                {
                    "firm_code": target.firm_code,
                    "product_code": target.product_code,
                    "station": f"station-{number}",
                    "process": str(one),
                    "ttl": 600,
                }
            )
            headers = f"content-type: application/json\r\nidempotency-key: {uuid.uuid4().hex}\r\n"
            status, answer = await connection.ask("POST", "/v1/sessions", body, headers)
            if status != 201:
                raise RuntimeError(f"checkout answered with {status}: {answer!r}")
            sessions.append(_session.decode(answer).id)
        actions.append(_beat(connection, msgspec.json.encode({"sessions": sessions}), batch))
    return actions


def _beat(connection: Connection, body: bytes, batch: int) -> Action:
    async def action() -> None:
        status, answer = await connection.ask(
            "POST", "/v1/heartbeats", body, "content-type: application/json\r\n"
        )
        if status != 200 or len(msgspec.json.decode(answer)["alive"]) != batch:
            raise RuntimeError(f"heartbeats answered with {status}: {answer[:200]!r}")

    return action


async def batches(target: Target, clients: int, batch: int = 100) -> Sequence[Action]:
    """Each client asks for `batch` seats with one request, and gives them back with the next one."""
    tls = _tls(target)
    return [
        _batch(await Connection.open(target.port, tls, target.name), target, n, batch) for n in range(clients)
    ]


class _Result(msgspec.Struct):
    status: int
    session: _Session | None = None


class _Results(msgspec.Struct):
    results: list[_Result]


_results = msgspec.json.Decoder(_Results)


def _batch(connection: Connection, target: Target, number: int, batch: int) -> Action:
    wish = {
        "firm_code": target.firm_code,
        "product_code": target.product_code,
        "station": f"station-{number}",
        "ttl": 600,
    }
    held: list[str] = []

    async def action() -> None:
        if held:
            steps: list[dict[str, object]] = [{"do": "release", "session": one} for one in held]
            wanted = 204
        else:
            steps = [{"do": "open", "key": uuid.uuid4().hex, "request": wish} for _ in range(batch)]
            wanted = 201
        held.clear()
        body = msgspec.json.encode({"steps": steps})
        status, answer = await connection.ask("POST", "/v1/batch", body, "content-type: application/json\r\n")
        if status != 200:
            raise RuntimeError(f"batch answered with {status}: {answer[:200]!r}")
        results = _results.decode(answer).results
        if any(one.status != wanted for one in results):
            raise RuntimeError(f"a step was not done: {answer[:200]!r}")
        held.extend(one.session.id for one in results if one.session is not None)

    return action
