"""Turns of the event loop: a little of what waits goes on in each, in fair order."""

import asyncio
from collections.abc import Callable, Hashable, Sequence

from tmr.rim.fair_queue import FairQueue


class Turns:
    """Calls what waits, `per_turn` of them in one turn of the event loop, fair between their flows."""

    def __init__(self, per_turn: int) -> None:
        self._per_turn = per_turn
        self._queue: FairQueue[Callable[[], None]] = FairQueue()
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._queue)

    def call(self, flow: Sequence[Hashable], callback: Callable[[], None]) -> None:
        """Have `callback` called when its turn comes, in a later turn of the event loop."""
        self._queue.push(flow, callback)
        self._schedule()

    async def passed(self, flow: Sequence[Hashable]) -> None:
        """Wait for a turn."""
        turn = asyncio.get_running_loop().create_future()
        self.call(flow, lambda: None if turn.done() else turn.set_result(None))
        await turn

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        for _ in range(min(self._per_turn, len(self._queue))):
            callback, _ = self._queue.pop()
            callback()
        if self._queue:
            self._schedule()
