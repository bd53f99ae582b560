"""Pauses of the active twin, seen from outside: a light request every few milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence

import msgspec

from bench.load.drive import quantile
from bench.load.http import Connection
from bench.load.licences import Refused, Target, checkout, tls, wish
from bench.load.until import say, steady, told

NICE = -10
"""Before the servers, where that is allowed: to wait for a processor is no pause of the server."""
PARTS = tuple(1 - 10.0 ** -(step / 4) for step in range(25))
"""Of which quantiles are told: 0, and ever nearer to 1."""
LONGEST = 20


class Probe(msgspec.Struct):
    """Whom to ask. `every`: seconds between two requests; `limit`: seconds, longer ones are counted."""

    target: Target
    every: float
    limit: float


class Begun(msgspec.Struct):
    """The first request is answered."""

    at: float


class Pauses(msgspec.Struct):
    """Latencies of the requests, seconds."""

    count: int
    p50: float
    p99: float
    p999: float
    worst: float
    over: int
    """Longer than the limit."""
    late: float
    """What the probe itself was late by at most: so much of the above may be its own."""
    quantiles: list[tuple[float, float]]
    """Part of the requests, and what they took at most."""
    longest: list[tuple[float, float]]
    """When they began (CLOCK_MONOTONIC), and what they took."""


def pauses(samples: Sequence[tuple[float, float]], limit: float, late: float) -> Pauses:
    """Of requests: when each began, and what it took."""
    took = sorted(seconds for _, seconds in samples)
    return Pauses(
        count=len(took),
        p50=quantile(took, 0.5),
        p99=quantile(took, 0.99),
        p999=quantile(took, 0.999),
        worst=quantile(took, 1.0),
        over=sum(seconds > limit for seconds in took),
        late=late,
        quantiles=[(part, quantile(took, part)) for part in PARTS if part < 1 - 1 / (len(took) + 1)],
        longest=sorted(samples, key=lambda one: -one[1])[:LONGEST],
    )


async def probe(seconds: float, wanted: Probe) -> None:
    """Says Begun, then, when told to end, Pauses."""
    connection = await Connection.open(wanted.target.port, tls(wanted.target), wanted.target.name)
    session = await checkout(connection, wish(wanted.target, 0, ttl=3600))
    with contextlib.suppress(PermissionError):
        os.nice(NICE)
    steady()
    say(Begun(time.monotonic()))
    samples: list[tuple[float, float]] = []
    late = 0.0
    ended = asyncio.create_task(told(seconds))
    due = time.monotonic()
    while not ended.done():
        began = time.monotonic()
        status, answer = await connection.ask("PUT", f"/v1/sessions/{session}/heartbeat")
        if status != 200:
            raise Refused("a heartbeat", status, answer)
        now = time.monotonic()
        samples.append((began, now - began))
        due = max(due + wanted.every, now)
        await asyncio.sleep(due - now)
        late = max(late, time.monotonic() - due)
    ended.result()
    say(pauses(samples, wanted.limit, late))
