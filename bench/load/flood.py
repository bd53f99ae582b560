"""One client that sends far more than its share, in one of several ways, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import msgspec

from bench.load.licences import JSON, Target, tls
from bench.load.until import say, told
from testbed.http import Connection

Kind = Literal["heartbeats", "slow-bodies", "handshakes"]
IDS: Final = 1_000
"""Sessions in one request: as many as are allowed, none of which is known."""
TRICKLE: Final = 0.1
"""Seconds between two bytes of a slow body."""
NICE: Final = 10
"""Behind the servers: a flood comes from another machine, and takes no processor from them."""
SOURCE: Final = "127.0.0.2"
"""Address that the flood comes from: not its neighbour's."""
PAUSE: Final = 0.05
"""Seconds before a connection that was refused is made again."""


class Flood(msgspec.Struct):
    """What is sent to whom."""

    target: Target
    kind: Kind


class Begun(msgspec.Struct):
    """All connections send."""

    at: float


class Sent(msgspec.Struct):
    """Answers by status; 0: a connection was ended or refused without an answer."""

    answers: dict[str, int]


async def flood(connections: int, seconds: float, wanted: Flood) -> None:
    """Says Begun, then, when told to end, Sent. It does not keep to `Retry-After`."""
    os.nice(NICE)
    context, answers = tls(wanted.target), Counter[int]()
    ways: dict[Kind, Callable[[Target, ssl.SSLContext, Counter[int]], Awaitable[None]]] = {
        "heartbeats": _heartbeats,
        "slow-bodies": _slow_body,
        "handshakes": _handshake,
    }
    way = ways[wanted.kind]

    async def again_and_again() -> None:
        while True:
            try:
                await way(wanted.target, context, answers)
            except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
                answers[0] += 1
                await asyncio.sleep(PAUSE)

    tasks = [asyncio.create_task(again_and_again()) for _ in range(connections)]
    await asyncio.sleep(1.0)
    say(Begun(time.monotonic()))
    await told(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    say(Sent({str(status): count for status, count in sorted(answers.items())}))


async def _open(target: Target, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(
        "127.0.0.1", target.port, ssl=context, server_hostname=target.name, local_addr=(SOURCE, 0)
    )


async def _heartbeats(target: Target, context: ssl.SSLContext, answers: Counter[int]) -> None:
    body = msgspec.json.encode({"sessions": [secrets.token_hex(16) for _ in range(IDS)]})
    connection = Connection(*await _open(target, context))
    try:
        while True:
            status, _ = await connection.ask("POST", "/v1/heartbeats", body, JSON)
            answers[status] += 1
    finally:
        connection.close()


async def _slow_body(target: Target, context: ssl.SSLContext, answers: Counter[int]) -> None:
    reader, writer = await _open(target, context)
    try:
        writer.write(b"POST /v1/heartbeats HTTP/1.1\r\nhost: bench\r\ncontent-length: 9000\r\n\r\n")
        answer = asyncio.ensure_future(reader.readuntil(b"\r\n"))
        try:
            while not answer.done():
                writer.write(b" ")
                await asyncio.sleep(TRICKLE)
            answers[int((await answer)[9:12])] += 1
        finally:
            answer.cancel()
    finally:
        writer.close()


async def _handshake(target: Target, context: ssl.SSLContext, answers: Counter[int]) -> None:
    connection = Connection(*await _open(target, context))
    answers[200] += 1
    connection.close()
    with contextlib.suppress(OSError):
        await connection.ended()
