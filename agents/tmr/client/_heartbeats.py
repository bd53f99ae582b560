# SPDX-License-Identifier: Apache-2.0
"""Heartbeats of all sessions of one client: the schedule, and the task or thread that follows it.

`HeartbeatSchedule` says when each session is due; it does no I/O and reads no clock. Times are monotonic
seconds. A session is beaten every third of its time to live, counted from the moment that the last request
that was answered had been *sent*: the server may have counted from then. `HeartbeatTask` (async client) and
`HeartbeatThread` (sync client) follow it: the first session starts them, and `close` ends them.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar

from tmr.api.fields import HEARTBEATS_MAX
from tmr.api.sessions import EndedSession, Heartbeats, Session
from tmr.client._clock import LONGEST_WAIT
from tmr.client._retry import Policy
from tmr.client._session import log, log_unavailable

BEATS: Final = 3
"""Heartbeats in one time to live."""
_TOGETHER: Final = 0.5
"""Part of the interval by which a heartbeat may come early, to go together with others."""


class SessionState(StrEnum):
    """State of a session as the client knows it.

    `held`: the server confirmed it, and its time to live has not passed since. `unknown`: no server has
    answered for a whole time to live; it may live on, since a new active twin gives every session a fresh
    one. `lost`: the server said so. `released`: given back. `foreign`: this process was forked from the one
    that holds it.
    """

    HELD = "held"
    UNKNOWN = "unknown"
    LOST = "lost"
    RELEASED = "released"
    FOREIGN = "foreign"


@dataclass(slots=True)
class _Beat:
    ttl: float
    confirmed: float
    due: float
    unknown: bool = False
    """No server has answered for its time to live, and that was reported."""


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

    @property
    def held(self) -> tuple[str, ...]:
        """The sessions that heartbeats are sent for."""
        return tuple(self._beats)

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
                beat.confirmed, beat.unknown = sent, False
                beat.due = sent + beat.ttl / BEATS
            elif session in lost:
                del self._beats[session]
                self._lost.add(session)
                found.append(session)
            else:
                beat.due = retry_at
        return tuple(found)

    def newly_unknown(self, now: float) -> dict[str, float]:
        """Sessions that became unknown since the last call → seconds since they were confirmed."""
        found = {}
        for session, beat in self._beats.items():
            if not beat.unknown and now >= beat.confirmed + beat.ttl:
                beat.unknown = True
                found[session] = now - beat.confirmed
        return found

    def demand(self, now: float) -> None:
        """All sessions are due at once."""
        for beat in self._beats.values():
            beat.due = min(beat.due, now)

    def unanswered(self, asked: Iterable[str], retry_at: float) -> None:
        """A heartbeat of `asked` was given up; it is due again at `retry_at`."""
        for session in asked:
            if session in self._beats:
                self._beats[session].due = retry_at


NAME: Final = "tmr-heartbeats"
Sleep = Callable[[float], object]


class _Session(Protocol):
    licence: Session

    @property
    def id(self) -> str: ...

    def _is_lost(self, ended: EndedSession | None) -> None: ...

    def _is_unknown(self, silent: float) -> None: ...

    def _adopted(self, *, held: bool) -> None: ...


S = TypeVar("S", bound=_Session)


class _Loop(Generic[S]):
    """State that both loops share. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float], policy: Policy) -> None:
        self.schedule = HeartbeatSchedule()
        self._clock = clock
        self._policy = policy
        self._sessions: dict[str, S] = {}
        self._silent = False
        self._unavailable: set[str] = set()
        """Sessions that were not kept alive when they were beaten last."""

    @property
    def sessions(self) -> list[S]:
        """The sessions that are held."""
        return list(self._sessions.values())

    def _wait(self) -> float | None:
        """Seconds until the next heartbeat, at most LONGEST_WAIT; None: there is no session."""
        wait = self.schedule.wait(self._clock())
        return None if wait is None else min(wait, LONGEST_WAIT)

    def _unanswered(self, due: tuple[str, ...], error: Exception) -> None:
        # Whatever the error is, the sessions need the next heartbeat.
        if not self._silent:
            log.warning("no answer to a heartbeat; the session goes on: %s", error)
        self._silent = True
        self.schedule.unanswered(due, self._clock() + self._policy.after_heartbeat(error))

    def _answered(self, due: tuple[str, ...], answer: Heartbeats, sent: float) -> list[S]:
        """The sessions that the server has ended."""
        if self._silent:
            log.info("heartbeats are answered again")
        self._silent = False
        for each in set(answer.unavailable) - self._unavailable:
            if each in self._sessions:
                log_unavailable(self._sessions[each].licence)
        self._unavailable = self._unavailable.difference(due).union(answer.unavailable)
        again = self._clock() + self._policy.beat_again
        lost = self.schedule.answered(due, answer.alive, answer.lost, sent, again)
        return [self._sessions[each] for each in lost]

    def _unknown(self) -> list[tuple[S, float]]:
        """The sessions that are unknown since just now, and for how many seconds no server has answered."""
        found = self.schedule.newly_unknown(self._clock())
        return [(self._sessions[each], silent) for each, silent in found.items() if each in self._sessions]

    def _take_over(self) -> None:
        """Another process goes on: it asks at once how each session is."""
        self.schedule.demand(self._clock())
        held = set(self.schedule.held)
        for session in self.sessions:
            session._adopted(held=session.id in held)


def _tell(lost: list[S], answer: Heartbeats) -> None:
    ended = {one.id: one for one in answer.ended}
    for session in lost:
        session._is_lost(ended.get(session.id))


class HeartbeatTask(_Loop[S]):
    """The heartbeats of an async client. `ask` sends those of some sessions, and tries again by itself."""

    def __init__(
        self,
        clock: Callable[[], float],
        policy: Policy,
        ask: Callable[[tuple[str, ...]], Awaitable[Heartbeats]],
    ) -> None:
        super().__init__(clock, policy)
        self._ask = ask
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, session: S, sent: float) -> None:
        """Keep the session alive; it was granted to a request sent at `sent`."""
        self._sessions[session.id] = session
        self.schedule.add(session.id, session.licence.ttl, sent)
        self._begin()
        self._changed.set()

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._beat(), name=NAME)

    def adopt(self) -> None:
        """Go on in a forked child, whose event loop is another one."""
        self._changed, self._task = asyncio.Event(), None
        self._take_over()
        if self.sessions:
            self._begin()

    def remove(self, session: S) -> bool:
        """Send no more heartbeats of the session. Gives whether it was held until now."""
        self._sessions.pop(session.id, None)
        self._changed.set()
        return self.schedule.remove(session.id)

    async def close(self) -> None:
        """End the task."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _next(self) -> tuple[str, ...]:
        while True:
            due = self.schedule.due(self._clock())
            if due:
                return due
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait()):
                    await self._changed.wait()

    async def _beat(self) -> None:
        while True:
            due = await self._next()
            for session, silent in self._unknown():
                session._is_unknown(silent)
            sent = self._clock()
            try:
                answer = await self._ask(due)
            except Exception as error:
                self._unanswered(due, error)
            else:
                _tell(self._answered(due, answer, sent), answer)


class HeartbeatThread(_Loop[S]):
    """The heartbeats of a sync client. `ask` sends those of some sessions, and tries again by itself.

    `ask` is given a `sleep` that `close` ends at once.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        policy: Policy,
        ask: Callable[[tuple[str, ...], Sleep], Heartbeats],
    ) -> None:
        super().__init__(clock, policy)
        self._ask = ask
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, session: S, sent: float) -> None:
        """Keep the session alive; it was granted to a request sent at `sent`."""
        with self._changed:
            self._sessions[session.id] = session
            self.schedule.add(session.id, session.licence.ttl, sent)
            self._begin()
            self._changed.notify()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name=NAME, daemon=True)
            self._thread.start()

    def adopt(self) -> None:
        """Go on in a forked child, where the thread is not, and its locks may be held for ever."""
        self._changed, self._stop, self._thread = threading.Condition(), threading.Event(), None
        self._take_over()
        if self.sessions:
            self._begin()

    def remove(self, session: S) -> bool:
        """Send no more heartbeats of the session. Gives whether it was held until now."""
        with self._changed:
            held = self.schedule.remove(session.id)
            self._sessions.pop(session.id, None)
            self._changed.notify()
            return held

    def close(self) -> None:
        """End the thread. A call from the thread itself, as by `on_lost`, does not wait for it."""
        self._stop.set()
        with self._changed:
            thread, self._thread = self._thread, None
            self._changed.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _next(self) -> tuple[str, ...]:
        with self._changed:
            while not self._stop.is_set():
                due = self.schedule.due(self._clock())
                if due:
                    return due
                self._changed.wait(self._wait())
        return ()

    def _beat(self) -> None:
        while due := self._next():
            with self._changed:
                unknown = self._unknown()
            for session, silent in unknown:
                session._is_unknown(silent)
            sent = self._clock()
            try:
                answer = self._ask(due, self._sleep)
            except _Stopped:
                return
            except Exception as error:
                with self._changed:
                    self._unanswered(due, error)
                continue
            with self._changed:
                lost = self._answered(due, answer, sent)
            _tell(lost, answer)

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped


class _Stopped(Exception):
    """The client was closed while a heartbeat waited for its next attempt."""
