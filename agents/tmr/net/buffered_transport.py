# SPDX-License-Identifier: Apache-2.0
"""Writes of one turn of the event loop leave together.

An HTTP answer is written as a head and a body. Over TLS each would be a record and a system call of its own.
"""

import asyncio
from typing import Any


class BufferedTransport:
    """Stands in front of a transport, which does everything but hold back what is written."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Have `data` sent when this turn of the loop is over."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held:
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        """Close once everything written is sent."""
        self._flush()
        self._transport.close()
