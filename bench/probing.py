# SPDX-License-Identifier: Apache-2.0
"""Pauses of the active twin, seen from outside: a light request every few milliseconds."""

from __future__ import annotations

from typing import Final

import msgspec

from bench.load.job import Job, Target, Timeline
from testbed.figures import Latency, latency, percentile

EVERY: Final = 0.005
LIMIT: Final = 0.05
"""Seconds: pauses that are longer are counted."""
_NICE: Final = -10
"""Before the servers, where that is allowed: to wait for a processor is no pause of the server."""
_PARTS: Final = tuple(1 - 10.0 ** -(step / 4) for step in range(25))
"""Of which quantiles are told: 0, and ever nearer to 1."""


class Pauses(msgspec.Struct):
    """Latencies of the requests, seconds; `work`: processor time of the server between request and answer."""

    took: Latency
    over: int
    """Longer than the limit."""
    late: float
    """Longest delay of the probe itself: so much of the above may be its own."""
    quantiles: list[tuple[float, float]]
    """Part of the requests, and what they took at most."""
    work: Latency


def probe(target: Target, seconds: float, server: int | None = None) -> Job:
    """A load that keeps one session alive every 5 ms. `server`: process that answers."""
    return Job("heartbeat", target, 1, seconds, rate=1 / EVERY, nice=_NICE, server=server)


def pauses(timeline: Timeline) -> Pauses:
    """Result of such a load."""
    rising = sorted(timeline.took)
    return Pauses(
        latency(rising),
        sum(seconds > LIMIT for seconds in rising),
        timeline.late,
        [(part, percentile(rising, 100 * part)) for part in _PARTS if part < 1 - 1 / (len(rising) + 1)],
        latency(timeline.work),
    )
