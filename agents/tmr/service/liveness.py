# SPDX-License-Identifier: Apache-2.0
"""Heartbeat memory of the active twin: when each session was heard, and which time to live is over.

Pure: the clock is passed in, in seconds. A heartbeat is never written to the journal; a new active therefore
gives every session a fresh time to live. A session whose end is on its way to the journal is *ending*: until
the outcome is known no client may be told that it lives.

A timer wheel (Varghese and Lauck, 1987): each session stands in the slot of the moment at which it is looked
at next. A heartbeat only notes the time; a session that was heard moves on when its turn comes, and one that
has ended leaves its slot at once. So nothing is kept of sessions that are over, and a passive twin keeps
nothing.
"""

import heapq
import math
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from tmr.quorum.lease import DRIFT
from tmr.quorum.steady_clock import SteadyClock

Answer = Literal["alive", "ending", "unknown"]

RETRY: Final = 1.0
"""Seconds after which the end of a session is tried again where the journal took no command."""
SLOT: Final = 0.125
"""Seconds of one slot: a session is looked at so much later than its time to live is over, at most."""
STRETCH: Final = 5_000
"""Sessions looked at in one call: those of a new term all come to their turn together."""


class _LastSeen(msgspec.Struct):
    at: float
    ttl: float
    slot: int = 0
    ending: bool = False
    refused: bool = False
    """It was heard, but its licence cannot be used."""

    @property
    def due(self) -> float:
        """The client's clock may be slow and ours fast, both by DRIFT: never earlier than it thinks."""
        return self.at + self.ttl * (1 + DRIFT) / (1 - DRIFT)


class LivenessTable:
    """Table of the sessions and their last heartbeats. Empty but between `begin_term` and `end_term`."""

    def __init__(self, steady: SteadyClock | None = None) -> None:
        self._steady = steady or SteadyClock()
        """Clock that all times are counted by: no client is to lose its session to a clock that runs fast."""
        self._terms = False
        self._heard: dict[str, _LastSeen] = {}
        self._slots: dict[int, dict[str, None]] = {}
        """Number of the slot → its sessions. Slots that are empty wait for their moment, too."""
        self._next: list[int] = []
        """A heap of the slots' numbers."""

    def __len__(self) -> int:
        return len(self._heard)

    @property
    def timers(self) -> int:
        """Entries in all slots, and the slots: what the memory takes besides the sessions themselves."""
        return sum(map(len, self._slots.values())) + len(self._next)

    def begin_term(self, now: float, sessions: Iterable[tuple[str, int]]) -> None:
        """Forget everything; `sessions` (id, ttl) all were heard just now."""
        self.end_term()
        self._terms = True
        for session, ttl in sessions:
            self.granted(now, session, ttl)

    def end_term(self) -> None:
        """Forget everything: another twin hears the clients from now on."""
        self._terms = False
        self._heard, self._slots, self._next = {}, {}, []

    def granted(self, now: float, session: str, ttl: int) -> None:
        """The session is held, newly or by a repeated request. One that is ending stays so."""
        if session in self._heard:
            self.heartbeat(now, session)
        elif self._terms:
            heard = self._heard[session] = _LastSeen(self._steady.read(now), ttl)
            self._place(session, heard, heard.due)

    def heartbeat(self, now: float, session: str) -> Answer:
        """Note that the client was heard, unless the session is ending or unknown."""
        heard = self._heard.get(session)
        if heard is None:
            return "unknown"
        if heard.ending:
            return "ending"
        heard.at, heard.refused = self._steady.read(now), False
        return "alive"

    def refuse(self, session: str) -> None:
        """The session was heard, and is not kept alive: its licence cannot be used."""
        if session in self._heard:
            self._heard[session].refused = True

    def refused(self, session: str) -> bool:
        """Tells whether the session was heard last only to be refused."""
        heard = self._heard.get(session)
        return heard is not None and heard.refused

    def remaining_ms(self, now: float, session: str) -> int | None:
        """Milliseconds until the session ends unless it is heard; None: not known."""
        heard = self._heard.get(session)
        return (
            None if heard is None else max(0, round((heard.at + heard.ttl - self._steady.read(now)) * 1000))
        )

    def ending(self, session: str) -> None:
        """A command that ends the session is on its way to the journal."""
        if session in self._heard:
            self._heard[session].ending = True

    def kept(self, now: float, session: str) -> None:
        """The command did not end the session, or did not reach the journal: look at it again soon."""
        heard = self._heard.get(session)
        if heard is not None and heard.ending:
            heard.ending = False
            self._leave(session, heard)
            self._place(session, heard, self._steady.read(now) + RETRY)

    def ended(self, session: str) -> None:
        """The session is over."""
        heard = self._heard.pop(session, None)
        if heard is not None:
            self._leave(session, heard)

    def expired(self, now: float, limit: int) -> list[str]:
        """At most `limit` sessions whose time to live is over; they are *ending* from now on."""
        now = min(self._steady.read(now), self._steady.proven(now))
        over: list[str] = []
        for _ in range(STRETCH):
            while self._next and self._next[0] * SLOT <= now and not self._slots[self._next[0]]:
                del self._slots[heapq.heappop(self._next)]
            if len(over) >= limit or not self._next or self._next[0] * SLOT > now:
                break
            session, _none = self._slots[self._next[0]].popitem()
            heard = self._heard[session]
            if heard.ending:
                continue
            if heard.due > now:
                self._place(session, heard, heard.due)
            else:
                heard.ending = True
                over.append(session)
        return over

    def _place(self, session: str, heard: _LastSeen, when: float) -> None:
        heard.slot = math.ceil(when / SLOT)
        slot = self._slots.get(heard.slot)
        if slot is None:
            slot = self._slots[heard.slot] = {}
            heapq.heappush(self._next, heard.slot)
        slot[session] = None

    def _leave(self, session: str, heard: _LastSeen) -> None:
        slot = self._slots.get(heard.slot)
        if slot is not None:
            slot.pop(session, None)
