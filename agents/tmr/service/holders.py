# SPDX-License-Identifier: Apache-2.0
"""Holders of seats: sessions, borrowings, and seats that are kept for the Linger Time."""

import datetime as dt
import itertools
from collections.abc import Iterable
from typing import Final

from tmr.api.fields import AccessMode
from tmr.api.licences import Holder
from tmr.ledger import Borrowing, Ledger
from tmr.ledger.state import Lingering
from tmr.ledger.use import shared_seat
from tmr.licensing import LicenceKey
from tmr.licensing.spelling import instant

HOLDERS_SHOWN: Final = 50
"""Holders named in one problem."""


def next_end(ledger: Ledger, keys: Iterable[LicenceKey]) -> dt.datetime | None:
    """Time at which a seat of the licences comes back at the latest: the first end of a borrowing, or of
    a Linger Time.

    None: open.
    """
    keys = tuple(keys)
    ends = [borrowing.until_ms for key in keys for borrowing in ledger.borrowed(key)]
    ends += [lingering.until_ms for key in keys for lingering in ledger.lingering(key)]
    return instant(min(ends)) if ends else None


def holders(ledger: Ledger, keys: Iterable[LicenceKey]) -> list[Holder]:
    """Holders of seats of the licences, oldest first, at most HOLDERS_SHOWN."""
    keys = tuple(keys)
    sessions = [
        ledger.sessions[session]
        for key in keys
        for session in itertools.islice(ledger.use(key).sessions, HOLDERS_SHOWN)
    ]
    sessions.sort(key=lambda session: (session.granted_ms, session.id))
    shared: set[tuple[LicenceKey, tuple[str, str]]] = set()
    found = []
    for session in sessions[:HOLDERS_SHOWN]:
        seats = 0 if session.mode == "no-user-limit" else 1
        seat = shared_seat(session.mode, session.named, session.client, session.station, session.user)
        if seat is not None:
            seats = 0 if (session.key, seat) in shared else 1
            shared.add((session.key, seat))
        found.append(
            Holder(
                user=session.user or session.client,
                station=session.station,
                access_mode=AccessMode(session.mode),
                since=instant(session.granted_ms),
                seats=seats,
                process=session.process,
            )
        )
    found += [
        _without_session(borrowing, borrowing.from_ms)
        for key in keys
        for borrowing in itertools.islice(ledger.borrowed(key), HOLDERS_SHOWN)
    ]
    found += [
        _without_session(lingering, lingering.since_ms, lingering=True)
        for key in keys
        for lingering in itertools.islice(ledger.lingering(key), HOLDERS_SHOWN)
    ]
    found.sort(key=lambda holder: holder.since)
    return found[:HOLDERS_SHOWN]


def _without_session(seat: Borrowing | Lingering, since_ms: int, *, lingering: bool = False) -> Holder:
    """Holder of a seat that no session has, taken since `since_ms`."""
    return Holder(
        user=seat.user or seat.client,
        station=seat.station,
        access_mode=None,
        since=instant(since_ms),
        seats=1,
        until=instant(seat.until_ms),
        lingering=lingering,
    )
