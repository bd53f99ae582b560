"""Pauses of the active twin, seen from outside: a light request every few milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence

import msgspec

from bench.load.drive import quantile
from bench.load.licences import Refused, Target, checkout, tls, wish
from bench.load.until import Begun, say, steady, told
from testbed.http import Connection

NICE = -10
"""Before the servers, where that is allowed: to wait for a processor is no pause of the server."""
PARTS = tuple(1 - 10.0 ** -(step / 4) for step in range(25))
"""Of which quantiles are told: 0, and ever nearer to 1."""
LONGEST = 20
_SCHED = 2
"""Clock of processor time in the id of another process's clock (clock_getcpuclockid, Linux)."""


class Probe(msgspec.Struct):
    """Address and request. `every`: seconds between two requests; `limit`: seconds, longer ones are counted.

    `server`: process that answers; its processor time is looked at.
    """

    target: Target
    every: float
    limit: float
    server: int | None = None


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
    """Longest delay of the probe itself: so much of the above may be its own."""
    quantiles: list[tuple[float, float]]
    """Part of the requests, and what they took at most."""
    longest: list[tuple[float, float]]
    """Their beginnings (CLOCK_MONOTONIC), and the seconds that they took."""
    work50: float = 0.0
    work99: float = 0.0
    """Processor time of the server between request and answer, seconds: other programs do not add to it."""


def pauses(
    samples: Sequence[tuple[float, float]], limit: float, late: float, work: Sequence[float] = ()
) -> Pauses:
    """Of requests: when each began, and what it took; `work`: processor time of the server meanwhile."""
    took, worked = sorted(seconds for _, seconds in samples), sorted(work)
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
        work50=quantile(worked, 0.5) if worked else 0.0,
        work99=quantile(worked, 0.99) if worked else 0.0,
    )


def processor_time(process: int | None) -> float:
    """Seconds of processor time that `process` has used; 0 for none."""
    if process is None:
        return 0.0
    return time.clock_gettime(~process << 3 | _SCHED)


async def probe(seconds: float, wanted: Probe) -> None:
    """Says Begun, then, when told to end, Pauses."""
    connection = await Connection.open(wanted.target.port, tls(wanted.target), wanted.target.name)
    session = await checkout(connection, wish(wanted.target, 0, ttl=3600))
    with contextlib.suppress(PermissionError):
        os.nice(NICE)
    steady()
    say(Begun(time.monotonic()))
    samples, work = list[tuple[float, float]](), list[float]()
    late = 0.0
    ended = asyncio.create_task(told(seconds))
    due = time.monotonic()
    while not ended.done():
        began, worked = time.monotonic(), processor_time(wanted.server)
        status, answer = await connection.ask("PUT", f"/v1/sessions/{session}/heartbeat")
        if status != 200:
            raise Refused("a heartbeat", status, answer)
        now = time.monotonic()
        samples.append((began, now - began))
        work.append(processor_time(wanted.server) - worked)
        due = max(due + wanted.every, now)
        await asyncio.sleep(due - now)
        late = max(late, time.monotonic() - due)
    ended.result()
    say(pauses(samples, wanted.limit, late, work))
