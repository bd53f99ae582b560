"""Redlock on three Redis servers: a seat is a key that two of three set if it was absent.

The algorithm is that of https://redis.io/docs/latest/develop/use/patterns/distributed-locks/. The client
speaks RESP2 by hand, as the other peers' clients do.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

from bench.load.drive import Action

MAJORITY = 2
_DELETE_OURS = (
    b"if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end"
)


class _Server:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, *words: bytes) -> bytes:
        """The answer's line. The two commands used are answered with a line each, or a nil."""
        self._writer.write(
            b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        )
        return (await self._reader.readuntil(b"\r\n"))[:-2]


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
            good = sum(answer == b":1" for answer in answers)
        else:
            held.append(uuid.uuid4().hex.encode())
            answers = await asyncio.gather(
                *(server.ask(b"SET", key, held[0], b"NX", b"PX", b"600000") for server in servers)
            )
            good = sum(answer == b"+OK" for answer in answers)
        if good < MAJORITY:
            raise RuntimeError(f"no majority: {answers}")

    return action
