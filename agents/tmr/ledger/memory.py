"""What is remembered for a while: outcomes, for retries, and how sessions ended, for whoever asks."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from tmr.ledger.commands import Consume, Grant, Request
from tmr.ledger.outcomes import Outcome
from tmr.ledger.state import Ended, Remembered

REMEMBER_MS: Final = 600_000
"""Outcomes are remembered this long, for retries: far beyond any client's patience."""
MAX_REMEMBERED: Final = 200_000
"""Outcomes remembered at most: the oldest go first."""
MAX_OF_CLIENT: Final = 50_000
"""Outcomes remembered of one client at most, so that it cannot have those of others forgotten."""
MAX_SIZE: Final = 80 * 2**20
"""Bytes that they may take in a snapshot, a quarter of it those of one client."""
ENDED_MS: Final = 3_600_000
"""How a session ended is remembered this long, for whoever asks after it."""
MAX_ENDED: Final = 50_000


class Memory:
    """See the module."""

    def __init__(self, remembered: Iterable[Remembered] = (), ended: Iterable[Ended] = ()) -> None:
        # Ordered: to find the first key of a plain dict takes longer, the more were deleted before it.
        self._outcomes: OrderedDict[tuple[str, str], Remembered] = OrderedDict()
        self._of_client: dict[str, OrderedDict[str, int]] = {}
        """Each client's idempotency keys, and how many bytes the outcome takes."""
        self._sizes: dict[str, int] = {}
        self._size = 0
        for one in remembered:
            self._add(one)
        self.ended = OrderedDict((one.session, one) for one in ended)

    def outcomes(self) -> list[Remembered]:
        """All of them, the oldest first."""
        return list(self._outcomes.values())

    def outcome(self, client: str, request_id: str) -> Remembered | None:
        """What came of the request with this idempotency key."""
        return self._outcomes.get((client, request_id))

    def remember(self, request: Request, outcome: Outcome, time_ms: int) -> None:
        """The outcome answers every retry of the request from now on."""
        self.drop(request.client, request.request_id)  # the newest stand last
        while self._too_many(request.client):
            self.drop(request.client, next(iter(self._of_client[request.client])))
        if isinstance(request, Grant):  # what tells a retry is enough
            request = replace(request, keys=(), address="", process="")
        elif not isinstance(request, Consume):
            request = replace(request, keys=(), address="")
        self._add(Remembered(request, outcome, time_ms))

    def drop(self, client: str, request_id: str) -> None:
        """Forget the outcome."""
        dropped = self._outcomes.pop((client, request_id), None)
        if dropped is not None:
            self._resize(client, -self._of_client[client].pop(request_id))
            if not self._of_client[client]:
                del self._of_client[client], self._sizes[client]

    def end(self, ended: Ended) -> None:
        """A session, or a place in the queue, is no more."""
        self.ended.pop(ended.session, None)  # the newest stand last
        self.ended[ended.session] = ended

    def forget(self, time_ms: int) -> None:
        """Forget what is old or too much."""
        while self._outcomes:
            oldest = next(iter(self._outcomes))
            recent = self._outcomes[oldest].time_ms > time_ms - REMEMBER_MS
            if recent and len(self._outcomes) < MAX_REMEMBERED and self._size < MAX_SIZE:
                break
            self.drop(*oldest)
        while self.ended:
            first = next(iter(self.ended))
            recent = self.ended[first].time_ms > time_ms - ENDED_MS
            if recent and len(self.ended) < MAX_ENDED:
                break
            del self.ended[first]

    def _add(self, remembered: Remembered) -> None:
        client, request_id = remembered.request.client, remembered.request.request_id
        self._outcomes[client, request_id] = remembered
        of_client = self._of_client.get(client)
        if of_client is None:
            of_client = self._of_client[client] = OrderedDict()
        of_client[request_id] = size = remembered.size
        self._resize(client, size)

    def _too_many(self, client: str) -> bool:
        """The client has so many outcomes remembered that the oldest of them must go."""
        return (
            len(self._of_client.get(client, ())) >= MAX_OF_CLIENT
            or self._sizes.get(client, 0) >= MAX_SIZE // 4
        )

    def _resize(self, client: str, by: int) -> None:
        self._size += by
        self._sizes[client] = self._sizes.get(client, 0) + by
