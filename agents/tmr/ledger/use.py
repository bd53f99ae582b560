# SPDX-License-Identifier: Apache-2.0
"""The use of one licence: its seats that are taken, and their holders."""

from collections.abc import Callable

import msgspec

from tmr.ledger.access import Subject
from tmr.ledger.commands import AccessMode
from tmr.ledger.state import Borrowing, Lingering, Session


def shared_seat(
    mode: AccessMode,
    named: bool,
    client: str,
    station: str,
    user: str,
) -> tuple[str, str] | None:
    """Seat that sessions share: a user's, or a station's; None: each takes its own, or none."""
    if mode in ("no-user-limit", "exclusive"):
        return None
    if named:
        return "", user
    return (client, station) if mode == "station-share" else None


class SeatUse(msgspec.Struct):
    """Seats of one licence. `counts`: seats that each `reserve` and `limit` rule counts, by its name."""

    sessions: dict[str, None] = msgspec.field(default_factory=dict)
    """In the order of their grants."""
    borrowings: dict[str, None] = msgspec.field(default_factory=dict)
    shared: dict[tuple[str, str], dict[str, Subject]] = msgspec.field(default_factory=dict)
    """Shared seats, as `shared_seat` names them → the sessions on each."""
    lingering: dict[str, None] = msgspec.field(default_factory=dict)
    """Former sessions whose seats are still taken."""
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
        """No seat of the licence is taken, and no session uses it."""
        return not self.sessions and not self.borrowings and not self.lingering

    def subjects(self) -> list[Subject]:
        """Subjects that count for the seats taken, one each."""
        return list(self._taken.values())

    def add(self, session: Session, count: Callable[[Subject, int], None]) -> None:
        """A session begins. `count(subject, ±1)`: a seat is counted for the subject, or no longer."""
        self.sessions[session.id] = None
        seat = shared_seat(session.mode, session.named, session.client, session.station, session.user)
        if seat is not None:
            sharing = self.shared.setdefault(seat, {})
            sharing[session.id] = session.subject
            if len(sharing) == 1:
                self._take(seat, session.subject, count)
        elif session.mode != "no-user-limit":
            self._take(session.id, session.subject, count)
        if session.mode == "exclusive":
            self.exclusive = session.id

    def remove(self, session: Session, count: Callable[[Subject, int], None]) -> None:
        """A session ends."""
        del self.sessions[session.id]
        seat = shared_seat(session.mode, session.named, session.client, session.station, session.user)
        if seat is not None:
            sharing = self.shared[seat]
            del sharing[session.id]
            self._leave(seat, count)
            if sharing:
                self._take(seat, next(iter(sharing.values())), count)
            else:
                del self.shared[seat]
        elif session.mode != "no-user-limit":
            self._leave(session.id, count)
        if session.mode == "exclusive":
            self.exclusive = ""

    def linger(self, lingering: Lingering, count: Callable[[Subject, int], None]) -> None:
        """The seat of a former session is taken still."""
        self.lingering[lingering.id] = None
        self._take(f"lingering {lingering.id}", lingering.subject, count)

    def stop_lingering(self, lingering: Lingering, count: Callable[[Subject, int], None]) -> None:
        """It is no longer."""
        del self.lingering[lingering.id]
        self._leave(f"lingering {lingering.id}", count)

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
