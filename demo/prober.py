"""Runs on the client machine: asks the virtual address every 10 ms who is active, over mutual TLS.

Each answer of an active twin is a line `NANOSECONDS TWIN` on standard output. There is one connection, kept
alive. If it breaks, or an answer is late, a new one is tried every 20 ms without waiting for earlier ones,
so that what is measured is the pause of the service and not the patience of the prober.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from typing import Final

from tmr.client import load, tls

INTERVAL_S: Final = 0.01
LATE_S: Final = 0.1
CONNECT_EVERY_S: Final = 0.02
CONNECT_TIMEOUT_S: Final = 1.0
CONNECTING_AT_ONCE: Final = 8

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Prober:
    """Asks `address` for its status, again and again."""

    def __init__(self, address: str, port: int, context: ssl.SSLContext) -> None:
        self._address, self._port, self._context = address, port, context
        self._request = (
            f"GET /v1/status HTTP/1.1\r\nHost: {address}:{port}\r\nAccept: application/json\r\n\r\n".encode()
        )

    async def run(self) -> None:
        while True:
            reader, writer = await self._connect()
            try:
                while True:
                    sent = time.monotonic()
                    await self._ask(reader, writer, LATE_S)
                    await asyncio.sleep(max(0.0, sent + INTERVAL_S - time.monotonic()))
            except (OSError, EOFError, TimeoutError, ValueError):
                writer.transport.abort()

    async def _connect(self) -> Connection:
        """The first new connection over which an active twin answered."""
        tries: set[asyncio.Task[Connection]] = set()
        try:
            while True:
                if len(tries) < CONNECTING_AT_ONCE:
                    tries.add(asyncio.create_task(self._try()))
                done, tries = await asyncio.wait(
                    tries, timeout=CONNECT_EVERY_S, return_when=asyncio.FIRST_COMPLETED
                )
                good = [task.result() for task in done if task.exception() is None]
                if good:
                    for _, writer in good[1:]:
                        writer.transport.abort()
                    return good[0]
                if done:  # refused at once: not faster than the interval
                    await asyncio.sleep(INTERVAL_S)
        finally:
            for task in tries:
                task.cancel()
            for late in await asyncio.gather(*tries, return_exceptions=True):
                if isinstance(late, tuple):
                    late[1].transport.abort()

    async def _try(self) -> Connection:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                self._address, self._port, ssl=self._context, server_hostname=self._address
            )
            try:
                await self._ask(reader, writer, CONNECT_TIMEOUT_S)
            except BaseException:
                writer.transport.abort()
                raise
            return reader, writer

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float
    ) -> None:
        """One request; ValueError unless an active twin answers."""
        async with asyncio.timeout(timeout_s):
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = next(
                int(line.partition(":")[2])
                for line in head.split("\r\n")
                if line.startswith("content-length:")
            )
            status = json.loads(await reader.readexactly(length))
        if status["role"] != "active":
            raise ValueError(f"{status['name']} is {status['role']}")
        print(time.monotonic_ns(), status["name"], flush=True)


def main() -> None:
    config = load()
    prober = Prober(config.servers[0], config.port, tls.context(config.tls, config.system))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(prober.run())


if __name__ == "__main__":
    main()
