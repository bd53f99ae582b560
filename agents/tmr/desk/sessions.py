"""Heartbeat memory of the active twin: who was heard when, and whose time to live is over.

Pure: the clock is passed in, in seconds. A heartbeat is never written to the journal; a new active therefore
gives every session a fresh time to live. A session whose end is on its way to the journal is *ending*: until
the outcome is known nobody may be told that it lives.
"""

import heapq
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from tmr.quorum.lease import DRIFT

Answer = Literal["alive", "ending", "unknown"]

RETRY: Final = 1.0
"""Seconds after which the end of a session is tried again where the journal took no command."""


class _Heard(msgspec.Struct):
    at: float
    ttl: float
    ending: bool = False

    @property
    def due(self) -> float:
        """The client's clock may be slow and ours fast, both by DRIFT: never earlier than it thinks."""
        return self.at + self.ttl * (1 + DRIFT) / (1 - DRIFT)


class Sessions:
    """One heap entry a session: a heartbeat only notes the time, the entry moves on when its turn comes."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}
        self._queue: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._heard)

    def begin_reign(self, now: float, sessions: Iterable[tuple[str, int]]) -> None:
        """Forget everything; `sessions` (id, ttl) all were heard just now."""
        self._heard = {session: _Heard(now, ttl) for session, ttl in sessions}
        self._queue = [(heard.due, session) for session, heard in self._heard.items()]
        heapq.heapify(self._queue)

    def granted(self, now: float, session: str, ttl: int) -> None:
        """The session is held, newly or by a repeated request. One that is ending stays so."""
        if session in self._heard:
            self.heartbeat(now, session)
            return
        heard = self._heard[session] = _Heard(now, ttl)
        heapq.heappush(self._queue, (heard.due, session))

    def heartbeat(self, now: float, session: str) -> Answer:
        """Note that the client was heard, unless the session is ending or unknown."""
        heard = self._heard.get(session)
        if heard is None:
            return "unknown"
        if heard.ending:
            return "ending"
        heard.at = now
        return "alive"

    def remaining_ms(self, now: float, session: str) -> int | None:
        """Milliseconds until the session ends unless it is heard; None: not known."""
        heard = self._heard.get(session)
        return None if heard is None else max(0, round((heard.at + heard.ttl - now) * 1000))

    def ending(self, session: str) -> None:
        """A command that ends the session is on its way to the journal."""
        if session in self._heard:
            self._heard[session].ending = True

    def kept(self, now: float, session: str) -> None:
        """The command did not end the session, or did not reach the journal: look at it again soon."""
        heard = self._heard.get(session)
        if heard is not None and heard.ending:
            heard.ending = False
            heapq.heappush(self._queue, (now + RETRY, session))

    def ended(self, session: str) -> None:
        """The session is over."""
        self._heard.pop(session, None)

    def expired(self, now: float, limit: int) -> list[str]:
        """At most `limit` sessions whose time to live is over; they are *ending* from now on."""
        over: list[str] = []
        while self._queue and self._queue[0][0] <= now and len(over) < limit:
            _, session = heapq.heappop(self._queue)
            heard = self._heard.get(session)
            if heard is None or heard.ending:
                continue
            if heard.due > now:
                heapq.heappush(self._queue, (heard.due, session))
            else:
                heard.ending = True
                over.append(session)
        return over
