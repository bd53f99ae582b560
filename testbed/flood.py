# SPDX-License-Identifier: Apache-2.0
"""A flood: one client, or strangers, ask a twin for far more than their share, until standard input ends.

    python -m testbed.flood CONFIG ADDRESS KIND NAMESPACE CONNECTIONS SOURCE

`heartbeats`: requests of the operator in CONFIG for a thousand sessions that nobody knows. `strangers`: TLS
handshakes without a certificate, and connections that begin none. `handshakes`: complete ones, and nothing
asked. `slow-bodies`: a byte at a time. Says when it is under way, and how much was answered, in JSON.
NAMESPACE and SOURCE may be empty.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Final, Literal, get_args

from lab.errors import LabError
from lab.names import ROOT
from testbed.http import Connection
from testbed.operator import enter
from tmr.client import load
from tmr.client._tls import context

Kind = Literal["heartbeats", "slow-bodies", "handshakes", "strangers"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
CONNECTIONS: Final = 40
ENDED: Final = "ended"
"""Instead of a status: the connection was ended or refused without an answer."""
NICE: Final = 10
"""Behind the machines: a flood comes from elsewhere, and takes no processor from them."""
_IDS: Final = 1_000
"""Sessions in one request: as many as are allowed."""
_TRICKLE_S: Final = 0.1
_PAUSE_S: Final = 0.05
_GIVEN_UP_S: Final = 2.0
_UNDER_WAY_S: Final = 1.0
_JSON: Final = "content-type: application/json\r\n"


class Flood:
    """Connections to one address, made again whenever they end, whatever `Retry-After` says.

    `answers`: their number by status.
    """

    def __init__(
        self,
        address: str,
        port: int,
        tls: ssl.SSLContext,
        kind: Kind,
        connections: int = CONNECTIONS,
        *,
        source: str | None = None,
    ) -> None:
        self._address, self._port, self._tls, self._source = address, port, tls, source
        self._connections = connections
        self._way = {
            "heartbeats": self._heartbeats,
            "slow-bodies": self._slow_body,
            "handshakes": self._handshake,
            "strangers": self._stranger,
        }[kind]
        self._over = asyncio.Event()
        self.answers = Counter[str]()

    def stop(self) -> None:
        """Begin nothing new."""
        self._over.set()

    async def go_on(self) -> None:
        """Until told to stop."""
        await asyncio.gather(*(self._again(number) for number in range(self._connections)))

    async def _again(self, number: int) -> None:
        while not self._over.is_set():
            try:
                await self._way(number)
            except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
                self.answers[ENDED] += 1
                await asyncio.sleep(_PAUSE_S)

    async def _open(self, tls: ssl.SSLContext | None) -> Connection:
        return await Connection.open(self._port, tls, address=self._address, source=self._source)

    async def _heartbeats(self, _: int) -> None:
        body = json.dumps({"sessions": [secrets.token_hex(16) for _ in range(_IDS)]}).encode()
        connection = await self._open(self._tls)
        try:
            while not self._over.is_set():
                status, _answer = await connection.ask("POST", "/v1/heartbeats", body, _JSON)
                self.answers[str(status)] += 1
        finally:
            connection.abort()

    async def _slow_body(self, _: int) -> None:
        connection = await self._open(self._tls)
        try:
            connection.send("POST", "/v1/heartbeats", 9000)
            self.answers[str(await connection.trickle(b" ", _TRICKLE_S))] += 1
        finally:
            connection.abort()

    async def _handshake(self, _: int) -> None:
        connection = await self._open(self._tls)
        self.answers["200"] += 1
        connection.close()
        await connection.ended()
        connection.abort()

    async def _stranger(self, number: int) -> None:
        async with asyncio.timeout(_GIVEN_UP_S):
            connection = await self._open(None if number % 2 else self._tls)
            try:
                await connection.ended()
            finally:
                connection.abort()
        self.answers[ENDED] += 1


@contextmanager
def flooded(
    config: Path,
    address: str,
    kind: Kind,
    *,
    namespace: str = "",
    connections: int = CONNECTIONS,
    source: str = "",
) -> Iterator[dict[str, int]]:
    """Flood an address meanwhile, from a process of its own; then, how often it was told what."""
    told = dict[str, int]()
    command = [sys.executable, "-m", "testbed.flood", config, address, kind, namespace, connections, source]
    with subprocess.Popen(list(map(str, command)), stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        try:
            process.stdout.readline()
            yield told
        finally:
            answers, _ = process.communicate()
    if process.returncode:
        raise LabError(f"the flood of {address} ended with {process.returncode}")
    told.update(json.loads(answers))


async def _run(
    config: str, address: str, kind: Kind, namespace: str, connections: int, source: str
) -> Counter[str]:
    found = load(Path(config))
    tls = _unnamed() if kind == "strangers" else context(found.tls, found.system)
    tls.check_hostname = False
    if namespace:
        enter(namespace)
    os.nice(NICE)
    flood = Flood(address, found.port, tls, kind, connections, source=source or None)
    task = asyncio.create_task(flood.go_on())
    await asyncio.sleep(_UNDER_WAY_S)  # not a wait for something: connections are made all the time
    print(flush=True)
    await asyncio.to_thread(sys.stdin.read)
    flood.stop()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return flood.answers


def _unnamed() -> ssl.SSLContext:
    """A stranger: it shows no certificate, and looks at none."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return tls


def main() -> None:
    config, address, kind, namespace, connections, source = sys.argv[1:]
    if kind not in KINDS:
        sys.exit(f"no kind of flood {kind!r}: choose from {', '.join(KINDS)}")
    print(json.dumps(asyncio.run(_run(config, address, kind, namespace, int(connections), source))))


if __name__ == "__main__":
    main()
