"""Checkouts whose latencies are kept with their times, until the load is told to end."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence

import msgspec

from bench.load.drive import Action
from bench.load.licences import TURNED_AWAY, Refused, Target, pairs
from bench.load.until import Begun, say, steady, told

PAUSE = 0.05
"""Seconds before what was turned away is tried again."""


class Watch(msgspec.Struct):
    """Target of the requests. `rate`: operations a second of all clients together; 0: as many as go."""

    target: Target
    rate: float = 0.0


class Timeline(msgspec.Struct):
    """Beginning of each operation (CLOCK_MONOTONIC) or, at a given rate, its due time; and its seconds."""

    began: list[float] = []
    took: list[float] = []
    turned_away: int = 0
    """Answers 503; the operation went on, and its time counts."""


def within(timeline: Timeline, start: float, end: float) -> list[float]:
    """Latencies of the operations that were under way between the two times, in order of size."""
    spans = zip(timeline.began, timeline.took, strict=True)
    return sorted(took for began, took in spans if began <= end and began + took >= start)


async def watch(clients: int, seconds: float, wanted: Watch) -> None:
    """Says Begun, then, when told to end, Timeline."""
    timeline = Timeline()
    actions = await pairs(wanted.target, clients)
    steady()
    start = time.monotonic()
    say(Begun(start))
    every = clients / wanted.rate if wanted.rate else 0.0
    tasks = [
        asyncio.create_task(_loop(timeline, action, start + every * number / clients, every))
        for number, action in enumerate(actions)
    ]
    ended = asyncio.create_task(told(seconds))
    await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
    await _cancel(tasks)
    say(timeline)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for found in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(found, Exception):
            raise found


async def _loop(timeline: Timeline, action: Action, first: float, every: float) -> None:
    for turn in itertools.count():
        due = first + turn * every
        if every and (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        began = due if every else time.monotonic()
        while True:
            try:
                await action()
                break
            except Refused as refused:
                if refused.status != TURNED_AWAY:
                    raise
                timeline.turned_away += 1
                await asyncio.sleep(PAUSE)
        timeline.began.append(began)
        timeline.took.append(time.monotonic() - began)
