# SPDX-License-Identifier: Apache-2.0
"""Turns of the event loop: a little of what waits goes on in each, in fair order."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import ContextVar

from tmr.runtime.fair_queue import FairQueue

_next_turn: ContextVar[Callable[[float], Awaitable[None]] | None] = ContextVar("next_turn", default=None)


def set_next_turn(next_turn: Callable[[float], Awaitable[None]]) -> None:
    """Set the way in which the current task waits for its next turn; it gets the cost of the work done."""
    _next_turn.set(next_turn)


async def give_way(cost: float = 1.0) -> None:
    """Let others have their turn, in the middle of a request that has done work of this cost.

    Also the renewal of the lease: whatever takes more than a millisecond has to be cut with this.
    """
    next_turn = _next_turn.get()
    await (asyncio.sleep(0) if next_turn is None else next_turn(cost))


class Turns:
    """Calls what waits, fair between flows: in one turn of the event loop only as much as costs `of_turn`.

    What costs more takes several turns: nothing else is begun in those that follow, so that what was begun
    before can be finished.
    """

    def __init__(self, of_turn: float) -> None:
        self._of_turn = of_turn
        self._queue: FairQueue[tuple[Callable[[], bool], float]] = FairQueue()
        self._taken = 0.0
        """Cost of what was begun that turns of the event loop have not made good yet."""
        self._scheduled = False
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._queue)

    def call(
        self, flow: Sequence[Hashable], callback: Callable[[], bool], cost: float = 1.0, weight: float = 1.0
    ) -> None:
        """Have `callback` called when its turn comes, in a later turn of the event loop.

        It returns whether there was anything to do: otherwise it took nothing of the turn. `weight`: factor
        of what it takes of its flow's share, but not of the turn.
        """
        self._queue.push(flow, (callback, cost), cost * weight)
        self._schedule()

    async def passed(self, flow: Sequence[Hashable], cost: float = 1.0, weight: float = 1.0) -> float:
        """Wait for a turn; seconds that it took. Returns at once if no task waits and there is room."""
        if not self._waiting and not self._queue and self._taken < self._of_turn:
            self._take(cost)
            return 0.0
        loop = asyncio.get_running_loop()
        turn, since = loop.create_future(), loop.time()

        def begin() -> bool:
            if turn.done():  # nobody waits for it any more
                return False
            turn.set_result(None)
            return True

        self.call(flow, begin, cost, weight)
        self._waiting += 1  # until it goes on: nobody overtakes it between its turn and that
        try:
            await turn
        finally:
            self._waiting -= 1
        return loop.time() - since

    def _take(self, cost: float) -> None:
        self._taken += cost
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """Begin what this turn of the event loop has room for."""
        self._scheduled = False
        self._taken = max(0.0, self._taken - self._of_turn)
        while self._queue and self._taken < self._of_turn:
            (callback, cost), _ = self._queue.pop()
            if callback():
                self._take(cost)
        if self._queue or self._taken:
            self._schedule()
