# SPDX-License-Identifier: Apache-2.0
"""Order in the replayed journal: the queue is served in turn, and time leaps once in a term at most."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from tests.simulation.licences import KEY, QUANTITY
from tmr.ledger import Ledger, Outcome, Waiting
from tmr.quorum.entries import Entry

LEAP_MS: Final = 60_000
"""More than this between two entries of one term is a leap: a run is much shorter."""


class Order:
    """Fed with one entry after the other. Each answer is a mistake, or empty."""

    def __init__(self) -> None:
        self._places: list[str] = []
        """Places in the queue, in the order in which they were taken."""
        self._leaps: Counter[int] = Counter()

    def time(self, before: Entry, entry: Entry) -> str:
        """Certified time follows the clocks once in a term, not whenever they are set."""
        if entry.epoch != before.epoch or entry.time_ms - before.time_ms <= LEAP_MS:
            return ""
        self._leaps[entry.epoch] += 1
        return "certified time leaps again in one term" if self._leaps[entry.epoch] > 1 else ""

    def queue(self, ledger: Ledger, outcomes: Sequence[Outcome]) -> str:
        """Nobody waits who could have a seat, or is overtaken by one who came later."""
        waits = ledger.waiting
        for outcome in outcomes:
            if isinstance(outcome, Waiting) and outcome.session not in self._places:
                self._places.append(outcome.session)
            for granted in outcome.promoted:
                earlier = self._places[: self._places.index(granted.session)]
                if overtaken := [place for place in earlier if place in waits]:
                    return f"{granted.session} overtakes {overtaken[0]} in the queue"
        self._places = [place for place in self._places if place in waits]
        seats = ledger.use(KEY).seats
        if self._places and KEY in ledger.licences and seats < QUANTITY:
            return f"{self._places[0]} waits, and {seats} seats of {QUANTITY} are in use"
        return ""
