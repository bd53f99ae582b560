# SPDX-License-Identifier: Apache-2.0
"""Reports between the twins, by way of the upstreams: the state of each, and whether it could take over."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tmr.quorum.messages import Report, Reported
from tmr.rpc.upstream_client import LinkError
from tmr.runtime.background import Background
from tmr.service.health import TakeOver
from tmr.twin.front_comparison import UNKNOWN
from tmr.twin.replicator import Link

EVERY: Final = 0.3
"""Seconds between two reports."""
FRESH: Final = 2.0
"""Seconds for which a report counts."""
WITNESSES: Final = 2
"""Upstreams that must have heard the other twin: a single wrong upstream decides nothing."""
NOT_TOLD: Final = "two upstreams have not heard that it could"


class OtherTwin(msgspec.Struct, frozen=True):
    """The other twin, as two upstreams heard it just now."""

    name: str
    """Empty: no upstream has ever heard it."""
    heard: bool
    """Two upstreams have heard it within FRESH seconds."""
    ready: bool
    """It could take over at once; for that it must have been heard."""
    reason: str
    """Reason why it is not ready, for people; empty: it is."""
    front: int
    """View of the front network."""


class TwinReports:
    """Exchanges reports with the upstreams.

    `clock`: CLOCK_BOOTTIME in seconds; `own()`: this twin's report.
    """

    def __init__(
        self,
        links: Sequence[Link],
        clock: Callable[[], float],
        own: Callable[[], Report],
        fatal: Callable[[BaseException], None],
    ) -> None:
        self._links, self._clock, self._own = links, clock, own
        self._told: dict[int, tuple[Reported, float]] = {}
        """Report of the upstream in each slot about the other twin, and the time of that twin's words."""
        self._exchanges = [Background(fatal) for _ in links]

    def start(self) -> None:
        """Begin. Call in the event loop."""
        for slot, exchange in enumerate(self._exchanges):
            exchange.start(self._exchange(slot))

    async def stop(self) -> None:
        """End all traffic."""
        for exchange in self._exchanges:
            await exchange.stop()

    def other(self) -> OtherTwin:
        """The other twin, as two upstreams tell."""
        now = self._clock()
        told = sorted(self._told.values(), key=lambda one: one[1], reverse=True)
        fresh = [reported for reported, at in told if now - at < FRESH]
        name = told[0][0].twin if told else ""
        if len(fresh) < WITNESSES:
            why = f"two upstreams have not heard it for {FRESH:g} s" if name else "no upstream has heard it"
            return OtherTwin(name, heard=False, ready=False, reason=why, front=UNKNOWN)
        ready = sum(one.ready for one in fresh) >= WITNESSES
        reason = "" if ready else next(one.reason for one in fresh if not one.ready) or NOT_TOLD
        front = sorted((one.front for one in fresh), reverse=True)[WITNESSES - 1]
        return OtherTwin(name, heard=True, ready=ready, reason=reason, front=front)

    def take_over(self, name: str) -> TakeOver:
        """Readiness of the other twin, whose name this is, for the health of the system."""
        other = self.other()
        return TakeOver(name, other.heard, other.reason)

    async def _exchange(self, slot: int) -> None:
        while True:
            try:
                reply = await self._links[slot].call(self._own())
            except LinkError:
                reply = None
            if isinstance(reply, Reported):
                self.note(slot, reply)
            await asyncio.sleep(EVERY)

    def note(self, slot: int, reply: Reported) -> None:
        """The upstream in `slot` has told of the other twin just now."""
        if reply.age_ms is None:
            self._told.pop(slot, None)
        else:
            self._told[slot] = reply, self._clock() - reply.age_ms / 1000
