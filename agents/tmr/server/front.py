"""Hand-over because of the front network: the other twin sees it, and this one does not.

Each twin tells the upstreams how much it sees, and hears how much the other one does. The decision is a plain
function of both and the time.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from tmr.quorum.entries import Owner
from tmr.quorum.messages import Report, Reported
from tmr.rim.upstream_link import LinkError
from tmr.server.core import Link

UNKNOWN: Final = 0
"""Not watched, or not told."""
UNABLE: Final = 1
"""The twin could not hold the address: no carrier, or no tmr-vip."""
NOTHING: Final = 2
"""It hears nobody on the front network."""
TRAFFIC: Final = 3
"""It hears others; no target answers it."""
TARGET: Final = 4
"""A target answers it."""

EVERY: Final = 0.3
"""Seconds between two reports."""
FRESH: Final = 2.0
"""Seconds for which a report counts."""
PATIENCE: Final = 1.5
"""Seconds for which the other twin must see more: news of a target that all lose reach it within that."""
PAUSE: Final = 30.0
"""Seconds without another such hand-over: whatever is wrong with the network, it does not flap."""


class FrontComparison:
    """Decides when to hand over. Of what nobody sees, or what is not known, nothing follows."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._not_before = float("-inf")

    def hand_over(self, now: float, own: int, other: int) -> bool:
        """True when the other twin has seen more than this one for long enough. Call often."""
        if not NOTHING <= own < other:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        if now - self._since < PATIENCE or now < self._not_before:
            return False
        self._since, self._not_before = None, now + PAUSE
        return True


class FrontReports:
    """Exchanges reports with the upstreams. `clock`: CLOCK_BOOTTIME in seconds; `own()`: this twin's view."""

    def __init__(
        self, owner: Owner, links: Sequence[Link], clock: Callable[[], float], own: Callable[[], int]
    ) -> None:
        self._owner, self._links, self._clock, self._own = owner, links, clock, own
        self._heard = [(UNKNOWN, float("-inf"))] * len(links)
        """What each upstream told of the other twin, and when that twin had said so."""
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, ended: Callable[[asyncio.Task[None]], None]) -> None:
        """Begin. Call in the event loop; `ended` is called with a task that failed."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._exchange(slot)) for slot in range(len(self._links))]
        for task in self._tasks:
            task.add_done_callback(ended)

    async def stop(self) -> None:
        """End all traffic."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def other(self) -> int:
        """How much the other twin sees, as two upstreams tell."""
        now = self._clock()
        views = sorted((view if now - at < FRESH else UNKNOWN for view, at in self._heard), reverse=True)
        return views[1]

    async def _exchange(self, slot: int) -> None:
        while True:
            try:
                reply = await self._links[slot].call(Report(self._owner, self._own()))
            except LinkError:
                reply = None
            if isinstance(reply, Reported):
                self._heard[slot] = (reply.front, self._clock() - reply.age_ms / 1000)
            await asyncio.sleep(EVERY)
