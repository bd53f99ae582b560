# SPDX-License-Identifier: Apache-2.0
"""Records of the stations, and their way from the client machine."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass
class Attempt:
    """One request for a licence, and what became of it. Times are seconds since the stations began.

    `granted`, `ended`: when the answer was there, and right before the licence was given back: the seat was
    surely taken in between. `queued`: when the first place in a queue was given.
    """

    station: str
    site: str
    address: str
    user: str
    product: int
    mode: str
    asked: float
    answered: float = 0.0
    queued: float | None = None
    granted: float | None = None
    ended: float | None = None
    tmr_id: int = 0
    in_use: int = 0
    """Seats taken, as the server said with the grant."""
    quantity: int = 0
    emergency: bool = False
    epoch: int = 0
    units: int = 0
    denied: str = ""
    code: int | None = None
    rule: str = ""
    error: str = ""
    """An error that is no refusal: there must be none."""

    @property
    def held(self) -> bool:
        """True if it was granted."""
        return self.granted is not None

    @property
    def waited(self) -> float | None:
        """Seconds in the queue; None: it was not in it."""
        return None if self.queued is None else self.answered - self.queued


def write(attempts: Iterable[Attempt]) -> str:
    """JSON Lines."""
    return "".join(f"{json.dumps(asdict(attempt))}\n" for attempt in attempts)


def read(text: str) -> list[Attempt]:
    """Attempts that `write` wrote."""
    return [Attempt(**json.loads(line)) for line in text.splitlines()]
