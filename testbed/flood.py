"""A flood: one client, or strangers, ask a twin for far more than their share, until standard input ends.

    python -m testbed.flood NAMESPACE CONFIG ADDRESS KIND

`heartbeats`: requests of the operator in CONFIG for a thousand sessions that nobody knows. `handshakes`: TLS
handshakes without a certificate, and connections that begin none. Says how much was answered, in JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import ssl
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from testbed.operator import enter
from tmr.client import load
from tmr.client.tls import context

KINDS: Final = ("heartbeats", "handshakes")
CONNECTIONS: Final = 40
NICE: Final = 10
"""Behind the machines: a flood comes from elsewhere, and takes no processor from them."""
_IDS: Final = 1_000
_PAUSE_S: Final = 0.05
_GIVEN_UP_S: Final = 2.0


class Flood:
    """Connections to one address, made again whenever they end."""

    def __init__(self, address: str, port: int, tls: ssl.SSLContext, kind: str) -> None:
        self._address, self._port, self._tls = address, port, tls
        self._way = {"heartbeats": self._heartbeats, "handshakes": self._handshake}[kind]
        self._over = asyncio.Event()
        self.answers = Counter[str]()

    def stop(self) -> None:
        """Begin nothing new."""
        self._over.set()

    async def go_on(self) -> None:
        """Until told to stop."""
        await asyncio.gather(*(self._again(number) for number in range(CONNECTIONS)))

    async def _again(self, number: int) -> None:
        while not self._over.is_set():
            try:
                await self._way(number)
            except (OSError, asyncio.IncompleteReadError):
                self.answers["ended"] += 1
                await asyncio.sleep(_PAUSE_S)

    async def _heartbeats(self, _: int) -> None:
        body = json.dumps({"sessions": [secrets.token_hex(16) for _ in range(_IDS)]}).encode()
        reader, writer = await asyncio.open_connection(self._address, self._port, ssl=self._tls)
        with _ended(writer):
            while not self._over.is_set():
                head = f"POST /v1/heartbeats HTTP/1.1\r\nHost: flood\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                told = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = told.find(b"content-length: ")
                await reader.readexactly(int(told[length + 16 : told.index(b"\r", length)]))
                self.answers[told[9:12].decode()] += 1

    async def _handshake(self, number: int) -> None:
        tls = None if number % 2 else self._tls
        async with asyncio.timeout(_GIVEN_UP_S):
            reader, writer = await asyncio.open_connection(self._address, self._port, ssl=tls)
            with _ended(writer):
                await reader.read(1)
        self.answers["ended"] += 1


@contextlib.contextmanager
def _ended(writer: asyncio.StreamWriter) -> Iterator[None]:
    """The connection ends at once, whatever the other end still has to say."""
    try:
        yield
    finally:
        writer.transport.abort()


async def _run(namespace: str, config: str, address: str, kind: str) -> Counter[str]:
    found = load(Path(config))
    tls = context(found.tls, found.system) if kind == "heartbeats" else _unnamed()
    tls.check_hostname = False
    os.nice(NICE)
    enter(namespace)
    flood = Flood(address, found.port, tls, kind)
    task = asyncio.create_task(flood.go_on())
    await asyncio.to_thread(sys.stdin.read)
    flood.stop()
    await task
    return flood.answers


def _unnamed() -> ssl.SSLContext:
    """A stranger: it shows no certificate, and looks at none."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return tls


def main() -> None:
    print(json.dumps(asyncio.run(_run(*sys.argv[1:]))))


if __name__ == "__main__":
    main()
