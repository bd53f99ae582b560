# SPDX-License-Identifier: Apache-2.0
"""Redlock on three Redis servers: a seat is a key that two of three set if it was absent.

The algorithm is that of https://redis.io/docs/latest/develop/use/patterns/distributed-locks/. hiredis
reads and writes the protocol: a whole client would take processors from the servers.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, cast

import hiredis

from bench.load.licences import Action

MAJORITY = 2
_DELETE_OURS = (
    b"if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end"
)


class _Server:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self._answers = reader, writer, hiredis.Reader()

    async def ask(self, *words: bytes) -> object:
        self._writer.write(hiredis.pack_command(cast(Any, words)))
        while (answer := self._answers.gets()) is False:  # not all of it yet
            if not (data := await self._reader.read(4096)):
                raise ConnectionError("a Redis server has hung up")
            self._answers.feed(data)
        return answer


async def locks(ports: Sequence[int], clients: int) -> Sequence[Action]:
    """Set and delete in turn; each client has a connection to each server."""
    run = uuid.uuid4().hex
    return [
        _lock(
            [_Server(*await asyncio.open_connection("127.0.0.1", port)) for port in ports],
            f"seat/{run}/{number}".encode(),
        )
        for number in range(clients)
    ]


def _lock(servers: Sequence[_Server], key: bytes) -> Action:
    held: list[bytes] = []

    async def action() -> None:
        if held:
            ours = held.pop()
            answers = await asyncio.gather(
                *(server.ask(b"EVAL", _DELETE_OURS, b"1", key, ours) for server in servers)
            )
            good = sum(answer == 1 for answer in answers)
        else:
            held.append(uuid.uuid4().hex.encode())
            answers = await asyncio.gather(
                *(server.ask(b"SET", key, held[0], b"NX", b"PX", b"600000") for server in servers)
            )
            good = sum(answer == b"OK" for answer in answers)
        if good < MAJORITY:
            raise RuntimeError(f"no majority: {answers}")

    return action
