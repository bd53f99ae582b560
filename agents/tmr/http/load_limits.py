# SPDX-License-Identifier: Apache-2.0
"""Load limits: the requests that are taken on when not all can be done in time (decision 16).

Pure: the load is passed in. What keeps or frees a seat is always taken on; what asks for more waits.
"""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec


class Priority(StrEnum):
    """Priority of a request by its purpose, the most urgent first."""

    CRITICAL = "critical"
    """Keeps what is held, or frees it; or lets an operator see and act. Never turned away."""
    HELD = "held"
    """More for a session or borrowing that is held; what was asked before with the same idempotency key."""
    NEW = "new"
    """A new session or borrowing."""
    READ_ONLY = "read-only"
    """Lists, explanations, exports: no seat depends on them."""


class Load(msgspec.Struct, frozen=True):
    """Amount of work, or the amounts at which a kind of requests is turned away."""

    in_work: int = 0
    """Requests of the kind that were received and are not answered."""
    waiting: int = 0
    """Commands that are not committed."""
    oldest: float = 0.0
    """Seconds that the first of them has waited."""
    lag: float = 0.0
    """Seconds that the event loop is late."""


LIMITS: Final[Mapping[Priority, Load]] = {
    Priority.HELD: Load(in_work=600, waiting=10_000, oldest=1.5, lag=1.0),
    Priority.NEW: Load(in_work=300, waiting=2_000, oldest=1.0, lag=0.75),
    Priority.READ_ONLY: Load(in_work=50, waiting=2_000, oldest=1.0, lag=0.5),
}
"""A client waits ANSWER_WAIT for an answer: one that would come later had better not be begun."""
HYSTERESIS: Final = 0.75
"""Part of a limit below which all measures must be before requests are taken on again."""
RETRY_MAX: Final = 5
"""Seconds: the longest that a client is asked to stay away."""


class LoadLimits:
    """Remembers which kinds of requests are being turned away: it does not change with every request."""

    def __init__(self, limits: Mapping[Priority, Load] = LIMITS) -> None:
        self._limits = limits
        self._full: set[Priority] = set()

    def refuses(self, priority: Priority, load: Load) -> int | None:
        """None: take the request on. Otherwise seconds after which it may be sent again."""
        limit = self._limits.get(priority)
        if limit is None:
            return None
        strain = _strain(load, limit)
        if strain >= (HYSTERESIS if priority in self._full else 1.0):
            self._full.add(priority)
            return max(1, min(RETRY_MAX, math.ceil(strain)))
        self._full.discard(priority)
        return None

    def reason(self, priority: Priority, load: Load) -> str:
        """Reason why requests of this kind are turned away, for people: what is nearest to its limit."""
        limit = self._limits[priority]
        told = {
            "in_work": f"{load.in_work} such requests are in work",
            "waiting": f"{load.waiting} commands wait to be stored",
            "oldest": f"a command has waited {load.oldest:.1f} s to be stored",
            "lag": f"this server is {load.lag:.1f} s late with everything",
        }
        return told[max(told, key=lambda measure: getattr(load, measure) / getattr(limit, measure))]


def _strain(load: Load, limit: Load) -> float:
    """Ratio of the load to the limit; 1 or more: it is reached."""
    return max(
        load.in_work / limit.in_work,
        load.waiting / limit.waiting,
        load.oldest / limit.oldest,
        load.lag / limit.lag,
    )
