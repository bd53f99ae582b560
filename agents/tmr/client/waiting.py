"""Waiting in a queue for a seat: when to ask again. No I/O, no clock.

A place is kept by asking for it, with the same request and the same idempotency key, within its time to live.
"""

from typing import Final

from tmr.client.models import Place, SessionRequest
from tmr.client.problems import SessionLost

NEXT: Final = 0.5
"""Seconds between requests of whoever is next …"""
OTHERS: Final = 2.0
"""… and of the others."""
TRIES: Final = 5
"""How often to queue anew after a place was lost, because this machine slept, say."""


def patience(wait: bool | float) -> float | None:
    """The longest time to wait in seconds; None: as long as it takes."""
    return None if wait is True else float(wait)


def pause(place: Place, deadline: float | None, now: float) -> float | None:
    """Seconds until the place is asked for again; None: the deadline (monotonic) is over."""
    if deadline is not None and now >= deadline:
        return None
    seconds = min(place.ttl / 4, NEXT if place.position == 1 else OTHERS)
    return seconds if deadline is None else min(seconds, max(0.01, deadline - now))


def anew(request: SessionRequest, lost: SessionLost, *, waited: bool) -> SessionRequest:
    """What to ask for after the session or the place that an earlier attempt got has ended.

    Units that were taken with a session are not taken again. A place in the queue has taken none; only the
    end of a session is told with `ended`. `waited`: an attempt with the same key was made to wait.
    """
    granted = lost.problem.ended is not None or not (request.wait or waited)
    return request.model_copy(update={"units": 0}) if granted else request
