"""The schedule of heartbeats: sessions, when each is due, and its known state. No I/O, no clock.

Times are monotonic seconds. A session is beaten every third of its time to live, counted from the moment that
the last request that was answered had been *sent*: the server may have counted from then.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tmr.api.fields import HEARTBEATS_MAX

BEATS: Final = 3
"""Heartbeats in one time to live."""
_TOGETHER: Final = 0.5
"""Part of the interval by which a heartbeat may come early, to go together with others."""


class SessionState(StrEnum):
    """State of a session as the client knows it.

    `held`: the server confirmed it, and its time to live has not passed since. `unknown`: nobody has answered
    for a whole time to live; it may live on, since a new active twin gives every session a fresh one.
    `lost`: the server said so. `released`: given back.
    """

    HELD = "held"
    UNKNOWN = "unknown"
    LOST = "lost"
    RELEASED = "released"


@dataclass(slots=True)
class _Beat:
    ttl: float
    confirmed: float
    due: float


class HeartbeatSchedule:
    """The heartbeats of all sessions of one client."""

    def __init__(self) -> None:
        self._beats: dict[str, _Beat] = {}
        self._lost: set[str] = set()

    def add(self, session: str, ttl: float, sent: float) -> None:
        """A session was granted to a request sent at `sent`."""
        self._lost.discard(session)
        self._beats[session] = _Beat(ttl, sent, sent + ttl / BEATS)

    def remove(self, session: str) -> bool:
        """The session needs no heartbeats any more. Gives whether it had any until now."""
        self._lost.discard(session)
        return self._beats.pop(session, None) is not None

    def state(self, session: str, now: float) -> SessionState:
        """State of the session."""
        if session in self._lost:
            return SessionState.LOST
        beat = self._beats.get(session)
        if beat is None:
            return SessionState.RELEASED
        return SessionState.HELD if now < beat.confirmed + beat.ttl else SessionState.UNKNOWN

    def wait(self, now: float) -> float | None:
        """Seconds until the next heartbeat is due (0: now), or None without sessions."""
        if not self._beats:
            return None
        return max(0.0, min(beat.due for beat in self._beats.values()) - now)

    def due(self, now: float) -> tuple[str, ...]:
        """The sessions to beat together now, the most urgent first; none before the first is due."""
        if not self._beats or min(beat.due for beat in self._beats.values()) > now:
            return ()
        ready = [
            (beat.due, session)
            for session, beat in self._beats.items()
            if beat.due <= now + _TOGETHER * beat.ttl / BEATS
        ]
        return tuple(session for _, session in sorted(ready)[:HEARTBEATS_MAX])

    def answered(
        self, asked: Iterable[str], alive: Iterable[str], lost: Iterable[str], sent: float, retry_at: float
    ) -> tuple[str, ...]:
        """A heartbeat of `asked`, sent at `sent`, was answered. Gives those that are now known to be lost.

        What is neither alive nor lost is due again at `retry_at`.
        """
        asked, alive, lost = set(asked), set(alive), set(lost)
        found = []
        for session, beat in list(self._beats.items()):
            if session not in asked:
                continue
            if session in alive:
                beat.confirmed = sent
                beat.due = sent + beat.ttl / BEATS
            elif session in lost:
                del self._beats[session]
                self._lost.add(session)
                found.append(session)
            else:
                beat.due = retry_at
        return tuple(found)

    def unanswered(self, asked: Iterable[str], retry_at: float) -> None:
        """A heartbeat of `asked` was given up; it is due again at `retry_at`."""
        for session in asked:
            if session in self._beats:
                self._beats[session].due = retry_at
