"""The first checkout after the active twin died: both twins' ports are tried again and again."""

from __future__ import annotations

import asyncio
import time

import msgspec

from bench.load.licences import TURNED_AWAY, Refused, Target, checkout, tls, wish
from bench.load.until import Begun, say, steady
from testbed.http import Connection

EVERY = 0.002
"""Seconds between two tries at one port."""


class First(msgspec.Struct):
    """`active`: whose death is waited for. `other`: the other twin."""

    active: Target
    other: Target


class Answered(msgspec.Struct):
    """The first checkout was answered. `noticed`: when the connection ended. Times of CLOCK_MONOTONIC."""

    noticed: float
    at: float
    tries: int
    by: str


async def first(seconds: float, wanted: First) -> None:
    """Says Begun once both twins are connected to, and Answered. What was checked out is released again."""
    active = await Connection.open(wanted.active.port, tls(wanted.active), wanted.active.name)
    other = await Connection.open(wanted.other.port, tls(wanted.other), wanted.other.name)
    steady()
    async with asyncio.timeout(seconds):
        say(Begun(time.monotonic()))
        await active.ended()
        noticed, tries = time.monotonic(), 0

        async def again(target: Target, connection: Connection | None) -> tuple[str, Connection, str]:
            nonlocal tries
            context = tls(target)
            while True:
                due = time.monotonic() + EVERY
                tries += 1
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
            asyncio.create_task(again(wanted.active, None)),
            asyncio.create_task(again(wanted.other, other)),
        ]
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        at = time.monotonic()
        for task in left:
            task.cancel()
        name, connection, session = done.pop().result()
        say(Answered(noticed, at, tries, name))
        await connection.ask("DELETE", f"/v1/sessions/{session}")
