"""Who holds what: everything a snapshot keeps."""

import msgspec

from tmr.ledger.commands import AccessMode, Grant
from tmr.ledger.outcomes import Outcome
from tmr.licensing import LicenceKey, SignedStatement


class Session(msgspec.Struct, frozen=True, array_like=True):
    """One access of one client to one licence."""

    id: str
    client: str
    key: LicenceKey
    mode: AccessMode
    ttl: int
    station: str
    user: str
    process: str
    granted_ms: int


class Remembered(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of a request, for its retries."""

    grant: Grant
    outcome: Outcome
    time_ms: int


class Use(msgspec.Struct):
    """How one licence is used."""

    sessions: set[str] = msgspec.field(default_factory=set)
    user_limit: int = 0
    """Sessions that take a seat each."""
    stations: dict[tuple[str, str], int] = msgspec.field(default_factory=dict)
    """(client, station) → its station-share sessions; each such station takes one seat."""
    exclusive: str = ""
    """The session that holds the licence alone, or empty."""

    @property
    def seats(self) -> int:
        """Seats taken of the licence's quantity."""
        return self.user_limit + len(self.stations) + (1 if self.exclusive else 0)

    def add(self, session: Session) -> None:
        """Account for a session that begins."""
        self.sessions.add(session.id)
        match session.mode:
            case "user-limit":
                self.user_limit += 1
            case "station-share":
                station = (session.client, session.station)
                self.stations[station] = self.stations.get(station, 0) + 1
            case "exclusive":
                self.exclusive = session.id
            case "no-user-limit":
                pass

    def remove(self, session: Session) -> None:
        """Account for a session that ends."""
        self.sessions.discard(session.id)
        match session.mode:
            case "user-limit":
                self.user_limit -= 1
            case "station-share":
                station = (session.client, session.station)
                self.stations[station] -= 1
                if not self.stations[station]:
                    del self.stations[station]
            case "exclusive":
                self.exclusive = ""
            case "no-user-limit":
                pass


class Stored(msgspec.Struct, array_like=True):
    """The ledger in a snapshot: lists keep the order of the dictionaries they fill again."""

    digest: bytes
    trusted: dict[str, bytes]
    statements: dict[str, SignedStatement]
    sessions: list[Session]
    remembered: list[Remembered]
