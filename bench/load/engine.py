# SPDX-License-Identifier: Apache-2.0
"""Actions again and again, as fast as it goes or at a steady rate, until standard input ends."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from bench.load.job import Begun, Job, Timeline
from bench.load.licences import TURNED_AWAY, Action, Refused

PAUSE = 0.05
"""Seconds before what was turned away is tried again."""
_SCHED = 2
"""Clock of processor time in the id of another process's clock (clock_getcpuclockid, Linux)."""


def say(value: object) -> None:
    """One line of JSON on standard output."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def steady() -> None:
    """No look for garbage from now on: it would be taken for a pause of the server."""
    gc.collect()
    gc.freeze()
    gc.disable()


async def run(actions: Sequence[Action], job: Job) -> None:
    """Says Begun, then, when told to end, Timeline: of one operation at least, where there are actions."""
    if job.nice:
        with suppress(PermissionError):
            os.nice(job.nice)
    steady()
    timeline, answered = Timeline(), asyncio.Event()
    start = time.monotonic()
    say(Begun(start))
    every = len(actions) / job.rate if job.rate else 0.0
    tasks = [
        asyncio.create_task(_again(action, job.server, timeline, answered, start + at * every, every))
        for action, at in zip(actions, offsets(len(actions)), strict=True)
    ]
    ended = asyncio.create_task(_told(answered if actions else None))
    await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for found in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(found, Exception):
            raise found
    say(timeline)


def offsets(count: int) -> list[float]:
    """Parts of an interval at which so many clients begin: evenly spread."""
    return [number / count for number in range(count)]


async def _told(answered: asyncio.Event | None) -> None:
    """Wait until standard input ends, and until something was answered."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await reader.read()
    transport.close()
    if answered is not None:
        await answered.wait()


async def _again(
    action: Action,
    server: int | None,
    timeline: Timeline,
    answered: asyncio.Event,
    due: float,
    every: float,
) -> None:
    """A turn that was held up is not made up for."""
    while True:
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
            timeline.late = max(timeline.late, time.monotonic() - due)
        began, worked = time.monotonic(), processor_time(server)
        while True:
            try:
                await action()
                break
            except Refused as refused:
                if refused.status != TURNED_AWAY:
                    raise
                timeline.turned_away += 1
                await asyncio.sleep(PAUSE)
        now = time.monotonic()
        timeline.began.append(began)
        timeline.took.append(now - began)
        if server is not None:
            timeline.work.append(processor_time(server) - worked)
        answered.set()
        due = max(due + every, now)


def processor_time(process: int | None) -> float:
    """Seconds of processor time that `process` has used; 0 for none."""
    return 0.0 if process is None else time.clock_gettime(~process << 3 | _SCHED)
