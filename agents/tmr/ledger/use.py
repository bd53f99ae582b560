# SPDX-License-Identifier: Apache-2.0
"""The use of one licence: its seats that are taken, and their holders."""

from collections.abc import Callable

import msgspec

from tmr.ledger.access import Subject
from tmr.ledger.state import Borrowing, Session


class SeatUse(msgspec.Struct):
    """Seats of one licence. `counts`: seats that each `reserve` and `limit` rule counts, by its name."""

    sessions: dict[str, None] = msgspec.field(default_factory=dict)
    """In the order of their grants."""
    borrowings: dict[str, None] = msgspec.field(default_factory=dict)
    stations: dict[tuple[str, str], dict[str, Subject]] = msgspec.field(default_factory=dict)
    """(client, station) → its station-share sessions; each such station takes one seat."""
    exclusive: str = ""
    """The session that holds the licence alone, or empty."""
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    counted: int = 0
    """Number of the access rules that `counts` is about; those of another number are counted anew."""
    _taken: dict[str | tuple[str, str], Subject] = msgspec.field(default_factory=dict)
    """Each seat that is taken, and who counts for it."""

    @property
    def seats(self) -> int:
        """Seats taken of the licence's quantity."""
        return len(self._taken)

    @property
    def idle(self) -> bool:
        """No session uses the licence."""
        return not self.sessions and not self.borrowings

    def subjects(self) -> list[Subject]:
        """Subjects that count for the seats taken, one each."""
        return list(self._taken.values())

    def add(self, session: Session, count: Callable[[Subject, int], None]) -> None:
        """A session begins. `count(subject, ±1)`: a seat is counted for the subject, or no longer."""
        self.sessions[session.id] = None
        match session.mode:
            case "user-limit":
                self._take(session.id, session.subject, count)
            case "station-share":
                station = (session.client, session.station)
                sharing = self.stations.setdefault(station, {})
                sharing[session.id] = session.subject
                if len(sharing) == 1:
                    self._take(station, session.subject, count)
            case "exclusive":
                self.exclusive = session.id
                self._take(session.id, session.subject, count)
            case "no-user-limit":
                pass

    def remove(self, session: Session, count: Callable[[Subject, int], None]) -> None:
        """A session ends."""
        del self.sessions[session.id]
        match session.mode:
            case "user-limit":
                self._leave(session.id, count)
            case "station-share":
                station = (session.client, session.station)
                sharing = self.stations[station]
                del sharing[session.id]
                self._leave(station, count)
                if sharing:
                    self._take(station, next(iter(sharing.values())), count)
                else:
                    del self.stations[station]
            case "exclusive":
                self.exclusive = ""
                self._leave(session.id, count)
            case "no-user-limit":
                pass

    def lend(self, borrowing: Borrowing, count: Callable[[Subject, int], None]) -> None:
        """A seat leaves the network."""
        self.borrowings[borrowing.id] = None
        self._take(borrowing.id, borrowing.subject, count)

    def take_back(self, borrowing: Borrowing, count: Callable[[Subject, int], None]) -> None:
        """A seat comes back."""
        del self.borrowings[borrowing.id]
        self._leave(borrowing.id, count)

    def _take(
        self, seat: str | tuple[str, str], subject: Subject, count: Callable[[Subject, int], None]
    ) -> None:
        self._taken[seat] = subject
        count(subject, +1)

    def _leave(self, seat: str | tuple[str, str], count: Callable[[Subject, int], None]) -> None:
        count(self._taken.pop(seat), -1)
