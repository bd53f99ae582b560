# SPDX-License-Identifier: Apache-2.0
"""Waiting in a queue for a seat: when to ask again. No I/O, no clock.

A place is kept by asking for it, with the same request and the same idempotency key, within its time to live.
"""

from collections.abc import Callable
from typing import Final

from tmr.api.errors import SessionLost
from tmr.api.sessions import QueuePlace, Session, SessionRequest

NEXT: Final = 0.5
"""Seconds between requests of the first in the queue …"""
OTHERS: Final = 2.0
"""… and of the others."""
TRIES: Final = 5
"""Number of times to queue anew after a place was lost, because this machine slept, say."""


def patience(wait: bool | float) -> float | None:
    """The longest time to wait in seconds; None: as long as it takes."""
    return None if wait is True else float(wait)


def pause(place: QueuePlace, deadline: float | None, now: float) -> float | None:
    """Seconds until the place is asked for again; None: the deadline (monotonic) is over."""
    if deadline is not None and now >= deadline:
        return None
    seconds = min(place.ttl / 4, NEXT if place.position == 1 else OTHERS)
    return seconds if deadline is None else min(seconds, max(0.01, deadline - now))


def anew(request: SessionRequest, lost: SessionLost, *, waited: bool) -> SessionRequest:
    """Request to make after the session or the place that an earlier attempt got has ended.

    Units that were taken with a session are not taken again. A place in the queue has taken none; only the
    end of a session is told with `ended`. `waited`: an attempt with the same key was made to wait.
    """
    granted = lost.problem.ended is not None or not (request.wait or waited)
    return request.model_copy(update={"units": 0}) if granted else request


class Acquisition:
    """One acquisition of a session: what to ask for next, with which key, until there is one.

    `key`: an idempotency key of the caller's, who then asks anew by himself; None: `new_key` makes them.
    `patience`: seconds that it may wait, from `now` (monotonic) on; None: as long as it takes.
    """

    def __init__(
        self,
        request: SessionRequest,
        key: str | None,
        patience: float | None,
        now: float,
        new_key: Callable[[], str],
    ) -> None:
        self.request = request
        self.key = key or new_key()
        self.place: QueuePlace | None = None
        """The place in the queue that it has, to be given up if the caller stops asking for it."""
        self._deadline = None if patience is None else now + patience
        self._tries = 0 if key is not None else TRIES if request.wait else 1
        self._new_key = new_key

    def lost(self, error: SessionLost) -> None:
        """The session or place has ended before its answer was heard: ask anew. Raises it if that is over."""
        waited, self.place = self.place is not None, None
        if not self._tries:
            raise error
        self._tries -= 1
        self.request = anew(self.request, error, waited=waited)
        self.key = self._new_key()

    def answered(self, found: Session | QueuePlace) -> None:
        """There is a session, or a place."""
        self.place = None if isinstance(found, Session) else found

    def pause(self, now: float) -> float:
        """Seconds until the place is asked for again."""
        assert self.place is not None  # noqa: S101
        seconds = pause(self.place, self._deadline, now)
        if seconds is None:
            # The same request, which does not wait any longer: it gets the seat that came meanwhile, or a
            # refusal that says who holds the seats.
            self.request = self.request.model_copy(update={"wait": False})
        return seconds or 0.0
