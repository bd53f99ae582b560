# SPDX-License-Identifier: Apache-2.0
"""The asking end of a connection that carries frames."""

import asyncio
import ssl
from typing import Final

from tmr.api.problem import Problem
from tmr.net import framing
from tmr.net.frame_server import IDLE

REPLY_LIMIT: Final = 256 * 2**20
"""Bytes of one answer: a promise may carry a whole journal."""


class PeerRefused(Exception):
    """The other end answered with a problem document."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.open: dict[int, asyncio.Future[bytes]] = {}
        self.transport: asyncio.Transport | None = None
        self._frames = framing.Frames(REPLY_LIMIT)
        self._number = 0
        self._retired = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._fail(error or ConnectionResetError("connection closed by it"))

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
        except framing.TooLarge as error:
            self._fail(ValueError(str(error)))
            self.close()

    def _take(self, frame: framing.Frame) -> None:
        waiting = self.open.pop(frame.number, None)
        if waiting is None or waiting.done():
            return
        if frame.kind == framing.MESSAGE:
            waiting.set_result(frame.body)
            return
        waiting.set_exception(PeerRefused(Problem.read(frame.body, 500)))

    def _fail(self, error: Exception) -> None:
        waiting, self.open = list(self.open.values()), {}
        for one in waiting:
            if not one.done():
                one.set_exception(error)

    async def ask(self, body: bytes) -> bytes:
        if self.transport is None:
            raise ConnectionResetError("connection closed by it")
        number = self._number = (self._number + 1) % 2**32
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.open[number] = answer
        self.transport.write(framing.encode(number, body))
        try:
            return await answer
        finally:
            self.open.pop(number, None)
            if self._retired and not self.open:
                self.close()

    def retire(self) -> None:
        """Close once no caller waits for an answer any more."""
        self._retired = True
        if not self.open:
            self.close()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class FrameLink:
    """One kept connection to `name` at `address`, made when something is asked. Use within one event loop.

    `tls` must offer `frames.ALPN`, and checks the peer within the handshake. `source`: the own address to
    ask from; None: the system chooses.
    """

    def __init__(
        self, name: str, address: str, port: int, tls: ssl.SSLContext, source: str | None = None
    ) -> None:
        self._name, self._address, self._port, self._tls = name, address, port, tls
        self._source = None if source is None else (source, 0)
        self._connection: _Connection | None = None
        self._used = float("-inf")
        self._connecting = asyncio.Lock()

    async def ask(self, body: bytes, patience: float) -> bytes:
        """The answer to `body`. Raises TimeoutError after `patience` seconds, OSError, ValueError, Refused.

        A connection on which an answer did not come in time is not used again: its peer may be gone.
        """
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(patience):
                connection = self._ready() or await self._connected()
                return await connection.ask(body)
        except TimeoutError:
            if connection is not None:
                self._drop(connection)
            raise

    def _ready(self) -> _Connection | None:
        """The connection, if it is there and has been used a moment ago."""
        connection, now = self._connection, asyncio.get_running_loop().time()
        if connection is None or connection.transport is None or now - self._used > IDLE / 4:
            return None
        self._used = now
        return connection

    async def _connected(self) -> _Connection:
        loop = asyncio.get_running_loop()
        async with self._connecting:
            connection = self._connection
            # Closed before the other end does: it must not close one that is being used.
            if connection is not None and not connection.open and loop.time() - self._used > IDLE / 2:
                self._drop(connection)
                connection = None
            if connection is None or connection.transport is None:
                connection = await self._connect(loop)
            self._used = loop.time()
            return connection

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> _Connection:
        transport, connection = await loop.create_connection(
            _Connection,
            self._address,
            self._port,
            ssl=self._tls,
            server_hostname=self._name,
            local_addr=self._source,
        )
        spoken = transport.get_extra_info("ssl_object")
        if spoken is None or spoken.selected_alpn_protocol() != framing.ALPN:
            transport.abort()
            raise ValueError(f"it does not speak {framing.ALPN}: another version, or no upstream")
        self._connection = connection
        return connection

    def _drop(self, connection: _Connection) -> None:
        connection.close()
        if self._connection is connection:
            self._connection = None

    def renew(self) -> None:
        """Ask on a new connection from now on; the one in use is closed once its answers are there."""
        former, self._connection = self._connection, None
        if former is not None:
            former.retire()

    async def close(self) -> None:
        """Close the connection; what is being asked fails."""
        if self._connection is not None:
            self._drop(self._connection)
