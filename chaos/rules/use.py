# SPDX-License-Identifier: Apache-2.0
"""The use of one licence, counted by the access modes as documented (docs: reference/api.md)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Use:
    """Sessions and borrowings on a licence."""

    alone: set[str] = field(default_factory=set)
    """Sessions of mode exclusive."""
    others: set[str] = field(default_factory=set)
    stations: Counter[str] = field(default_factory=Counter)
    free: set[str] = field(default_factory=set)
    """Sessions of mode no-user-limit, which take no seat."""

    def begin(self, session: str, mode: str, station: str) -> None:
        match mode:
            case "station-share":
                self.stations[station] += 1
            case "exclusive":
                self.alone.add(session)
            case "no-user-limit":
                self.free.add(session)
            case _:
                self.others.add(session)

    def end(self, session: str, mode: str, station: str) -> None:
        if mode == "station-share":
            self.stations[station] -= 1
            if self.stations[station] <= 0:
                del self.stations[station]
        for sessions in (self.alone, self.others, self.free):
            sessions.discard(session)

    @property
    def seats(self) -> int:
        return len(self.alone) + len(self.others) + len(self.stations)

    def wrong(self, quantity: int) -> str:
        """A contradiction; empty: none."""
        if self.seats > quantity:
            return f"{self.seats} seats of {quantity} are held"
        if self.alone and self.seats > 1:
            return f"{self.seats} hold what session {min(self.alone)} holds exclusively"
        return ""
