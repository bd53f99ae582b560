# SPDX-License-Identifier: Apache-2.0
"""The answering end of a connection that carries frames."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from tmr.net import framing
from tmr.net.identity import Identity
from tmr.net.problem import ProblemError
from tmr.runtime.logs import fields

log = logging.getLogger(__name__)

READ_TIMEOUT: Final = 10.0
"""Seconds in which a message must have arrived once it began."""
IDLE: Final = 75.0
"""Seconds that a connection without questions is kept."""
AT_ONCE: Final = 64
"""Questions that one connection may have open; what comes then waits in the socket."""
LIMIT: Final = 8 * 2**20
"""Bytes of one message."""

Answerer = Callable[[Identity, str, bytes], Awaitable[bytes]]
"""The answer to one question of a peer that asks from an address. Raises ProblemError."""


class FrameServer:
    """Server of one connection: each question on `transport` is answered by `answer`.

    `on_rest` hears whether the connection has nothing to do, whenever that changes.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        answer: Callable[[bytes], Awaitable[bytes]],
        on_rest: Callable[[bool], None],
    ) -> None:
        self._answerer = answer
        self._on_rest = on_rest
        self._frames = framing.Frames(LIMIT)
        self._open: set[asyncio.Task[None]] = set()
        self._ending = False
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = transport
        self._loop = asyncio.get_running_loop()
        self._watch(IDLE)

    def connection_lost(self) -> None:
        """The connection has ended."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        # What was asked goes on to its end: an upstream's promise does not depend on who still listens.

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        begun = self._frames.within and not self._paused
        try:
            with contextlib.closing(self._frames.feed(data)) as arrived:
                for frame in arrived:
                    begun = False
                    self._take(frame)
                    if self._paused:  # what else is there waits, however much one read has brought
                        break
        except framing.TooLarge as error:
            log.warning("connection ended", extra=fields(reason=error))
            self._close()
            return
        if self._paused or not self._frames.within:
            self._watch(IDLE)
        elif not begun:  # more of the same message must not begin the patience anew
            self._watch(READ_TIMEOUT)

    def _take(self, frame: framing.Frame) -> None:
        if self._ending:
            return
        task = self._loop.create_task(self._answer(frame))
        if not self._open:
            self._on_rest(False)
        self._open.add(task)
        task.add_done_callback(self._done)
        if len(self._open) >= AT_ONCE and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        if not self._open:
            self._on_rest(True)
        if self._paused and len(self._open) < AT_ONCE and self._transport is not None:
            self._paused = False
            self.data_received(b"")
            if not self._paused and not self._transport.is_closing():
                self._transport.resume_reading()
        if self._ending and not self._open:
            self._close()

    async def _answer(self, frame: framing.Frame) -> None:
        try:
            body, kind = await self._answerer(frame.body), framing.MESSAGE
        except ProblemError as problem:
            body, kind = problem.body, framing.PROBLEM
        except Exception:
            log.exception("a question could not be answered")
            self._close()
            return
        if self._transport is not None:
            self._transport.write(framing.encode(frame.number, body, kind))

    def _watch(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._overdue)

    def _overdue(self) -> None:
        if self._open and (self._paused or not self._frames.within):
            self._watch(IDLE)  # a long poll is an answer that is late on purpose
        else:
            self._close()

    def shutdown(self) -> None:
        """Answer what was asked, then close."""
        self._ending = True
        if not self._open:
            self._close()

    def _close(self) -> None:
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._transport.close()
