# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on one kept-alive connection: as little as a client can do, to leave processors to servers."""

from __future__ import annotations

import asyncio
import contextlib
import ssl


class Connection:
    """One request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(
        cls,
        port: int,
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
        *,
        address: str = "127.0.0.1",
        source: str | None = None,
    ) -> Connection:
        """To `address`, from `source`; `name` must be in the server's certificate."""
        local = None if source is None else (source, 0)
        return cls(
            *await asyncio.open_connection(address, port, ssl=tls, server_hostname=name, local_addr=local)
        )

    @classmethod
    async def over_unix(cls, path: str) -> Connection:
        """To a Unix socket."""
        return cls(*await asyncio.open_unix_connection(path))

    async def ask(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, bytes]:
        """Status and body. `headers`: lines that end in CR LF."""
        self.send(method, path, len(body), headers)
        self._writer.write(body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status, length = int(answer[9:12]), answer.find(b"content-length: ")
        if length < 0:
            return status, b""
        end = answer.index(b"\r", length)
        return status, await self._reader.readexactly(int(answer[length + 16 : end]))

    def send(self, method: str, path: str, length: int, headers: str = "") -> None:
        """The head of a request whose body has so many bytes."""
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nhost: testbed\r\n{headers}content-length: {length}\r\n\r\n".encode()
        )

    async def trickle(self, byte: bytes, every_s: float) -> int:
        """Send one byte again and again until the peer answers; the status."""
        answer = asyncio.ensure_future(self._reader.readuntil(b"\r\n"))
        try:
            while not answer.done():
                self._writer.write(byte)
                await asyncio.sleep(every_s)
            return int((await answer)[9:12])
        finally:
            answer.cancel()

    async def ended(self) -> None:
        """Wait until the peer hangs up. Only while nothing is asked."""
        with contextlib.suppress(OSError):
            while await self._reader.read(4096):
                pass

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    def abort(self) -> None:
        """Hang up at once, whatever the peer still has to say."""
        self._writer.transport.abort()
