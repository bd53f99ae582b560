"""What is remembered for a while: outcomes, for retries, and how sessions ended, for whoever asks."""

from collections.abc import Iterable
from typing import Final

from tmr.ledger.commands import Request
from tmr.ledger.outcomes import Outcome
from tmr.ledger.state import Ended, Remembered

REMEMBER_MS: Final = 600_000
"""Outcomes are remembered this long, for retries: far beyond any client's patience."""
MAX_REMEMBERED: Final = 200_000
"""Outcomes remembered at most: the oldest go first."""
ENDED_MS: Final = 3_600_000
"""How a session ended is remembered this long, for whoever asks after it."""
MAX_ENDED: Final = 50_000


class Memory:
    """See the module."""

    def __init__(self, remembered: Iterable[Remembered] = (), ended: Iterable[Ended] = ()) -> None:
        self._outcomes = {(r.request.client, r.request.request_id): r for r in remembered}
        self.ended = {one.session: one for one in ended}

    def outcomes(self) -> list[Remembered]:
        """All of them, the oldest first."""
        return list(self._outcomes.values())

    def outcome(self, client: str, request_id: str) -> Remembered | None:
        """What came of the request with this idempotency key."""
        return self._outcomes.get((client, request_id))

    def remember(self, request: Request, outcome: Outcome, time_ms: int) -> None:
        """The outcome answers every retry of the request from now on."""
        self.drop(request.client, request.request_id)  # the newest stand last
        self._outcomes[request.client, request.request_id] = Remembered(request, outcome, time_ms)

    def drop(self, client: str, request_id: str) -> None:
        """Forget the outcome."""
        self._outcomes.pop((client, request_id), None)

    def end(self, ended: Ended) -> None:
        """A session, or a place in the queue, is no more."""
        self.ended[ended.session] = ended

    def forget(self, time_ms: int) -> None:
        """Forget what is old or too much."""
        while self._outcomes:
            oldest = next(iter(self._outcomes))
            recent = self._outcomes[oldest].time_ms > time_ms - REMEMBER_MS
            if recent and len(self._outcomes) < MAX_REMEMBERED:
                break
            del self._outcomes[oldest]
        while self.ended:
            first = next(iter(self.ended))
            recent = self.ended[first].time_ms > time_ms - ENDED_MS
            if recent and len(self.ended) < MAX_ENDED:
                break
            del self.ended[first]
