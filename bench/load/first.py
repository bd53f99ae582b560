# SPDX-License-Identifier: Apache-2.0
"""The first checkout after the active twin died: both twins' ports are tried again and again."""

from __future__ import annotations

import asyncio
import time

from bench.load.engine import say, steady
from bench.load.job import Answered, Begun, Job, Target
from bench.load.licences import TURNED_AWAY, Refused, checkout, tls, wish
from testbed.http import Connection

EVERY = 0.002
"""Seconds between two tries at one port."""


async def first(job: Job) -> None:
    """Says Begun once both twins are connected to, and Answered. What was checked out is released again."""
    killed, heir = job.target, job.other
    assert isinstance(killed, Target)
    assert heir is not None
    active = await Connection.open(killed.port, tls(killed), killed.name)
    other = await Connection.open(heir.port, tls(heir), heir.name)
    steady()
    say(Begun(time.monotonic()))
    await active.ended()

    async def again(target: Target, connection: Connection | None) -> tuple[str, Connection, str]:
        context = tls(target)
        while True:
            due = time.monotonic() + EVERY
            try:
                if connection is None:
                    connection = await Connection.open(target.port, context, target.name)
                return target.name, connection, await checkout(connection, wish(target, 0))
            except Refused as refused:
                if refused.status != TURNED_AWAY:
                    raise
            except (OSError, asyncio.IncompleteReadError):
                connection = None
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    tasks = [
        asyncio.create_task(again(killed, None)),
        asyncio.create_task(again(heir, other)),
    ]
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    at = time.monotonic()
    for task in left:
        task.cancel()
    name, connection, session = done.pop().result()
    say(Answered(at, name))
    await connection.ask("DELETE", f"/v1/sessions/{session}")
