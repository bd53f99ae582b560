"""HTTP/1.1 on one kept-alive connection: as little as a client can do, for every peer that speaks it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl


class Connection:
    """One request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext | None = None, name: str | None = None) -> Connection:
        """To 127.0.0.1; `name` must be in the server's certificate."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name))

    async def ask(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, bytes]:
        """Status and body. `headers`: lines that end in CR LF."""
        head = f"{method} {path} HTTP/1.1\r\nhost: bench\r\n{headers}content-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status, length = int(answer[9:12]), answer.find(b"content-length: ")
        if length < 0:
            return status, b""
        end = answer.index(b"\r", length)
        return status, await self._reader.readexactly(int(answer[length + 16 : end]))

    async def ended(self) -> None:
        """Wait until the peer hangs up. Only while nothing is asked."""
        with contextlib.suppress(OSError):
            while await self._reader.read(4096):
                pass

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
