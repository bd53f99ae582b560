"""Very many sessions, held: opened as fast as it goes, then each kept alive, evenly over time."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence

import msgspec

from bench.load import many
from bench.load.drive import Action, quantile
from bench.load.licences import Target, beat
from bench.load.until import say, steady, told
from testbed.http import Connection

BATCH = 100
"""Sessions in one `POST /v1/heartbeats`."""


class Hold(msgspec.Struct):
    """Sessions to hold. `every`: seconds between heartbeats, 0: none; `churn`: commands before."""

    target: Target
    sessions: int
    ttl: int
    every: float = 0.0
    churn: int = 0


class Churned(msgspec.Struct):
    """All commands were carried out, and nothing is held."""

    seconds: float


class Opened(msgspec.Struct):
    """All sessions are held. `seconds`: for opening them."""

    sessions: int
    seconds: float


class Kept(msgspec.Struct):
    """Figures of the heartbeats. Latencies of a request in seconds; `late`: longest after its time."""

    requests: int
    p50: float
    p99: float
    worst: float
    late: float


def offsets(count: int, every: float) -> list[float]:
    """Times of `count` requests from the start of an interval: evenly spread."""
    return [every * number / count for number in range(count)]


class _Beats:
    """Keeps sessions alive, and notes how that went."""

    def __init__(self) -> None:
        self._took: list[float] = []
        self._late = 0.0

    async def run(self, lanes: Sequence[Connection], sessions: Sequence[str], every: float) -> None:
        """Until it is cancelled. Raises Refused where a session is lost."""
        start = time.monotonic()
        batches = [sessions[part.start : part.stop] for part in many.chunks(len(sessions), BATCH)]
        times = offsets(len(batches), every)
        async with asyncio.TaskGroup() as group:
            for number, lane in enumerate(lanes):
                mine = slice(number, None, len(lanes))
                actions = [beat(lane, batch) for batch in batches[mine]]
                group.create_task(self._lane(actions, [start + at for at in times[mine]], every))

    async def _lane(self, actions: Sequence[Action], times: Sequence[float], every: float) -> None:
        for turn in itertools.count():
            for action, at in zip(actions, times, strict=True):
                due = at + turn * every
                if (wait := due - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                began = time.monotonic()
                await action()
                self._late = max(self._late, began - due)
                self._took.append(time.monotonic() - began)
            if not actions:
                return

    def kept(self) -> Kept:
        """So far."""
        took = sorted(self._took)
        worst = quantile(took, 1.0)
        return Kept(len(took), quantile(took, 0.5), quantile(took, 0.99), worst, self._late)


async def hold(clients: int, seconds: float, wanted: Hold) -> None:
    """Says Churned, then Opened, then, when told to end, Kept. Raises Refused where a session is lost."""
    end = time.monotonic() + seconds
    async with asyncio.timeout(seconds):
        lanes = await many.connections(wanted.target, clients)
        began = time.monotonic()
        await many.churn(lanes, wanted.target, wanted.churn)
        say(Churned(time.monotonic() - began))
        began = time.monotonic()
        sessions = await many.opened(lanes, wanted.target, wanted.sessions, wanted.ttl)
        say(Opened(len(sessions), time.monotonic() - began))
    steady()
    beats = _Beats()
    tasks = {asyncio.create_task(told(end - time.monotonic()))}
    if wanted.every:
        tasks.add(asyncio.create_task(beats.run(lanes, sessions, wanted.every)))
    ended, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for task in ended:
        task.result()
    say(beats.kept())
