"""Who holds which seat: sessions and borrowings, by licence, by instance, by the time that they come back."""

import heapq
from typing import Final

from tmr.ledger import access
from tmr.ledger.access import AccessList, Rule, Subject
from tmr.ledger.state import Borrowing, Instance, Session
from tmr.ledger.use import Use
from tmr.licensing import LicenceKey

BORROW_GRACE_MS: Final = 60_000
"""A borrowed seat is counted so much longer than its file is valid: the borrower's clock may be behind."""


class Seats:
    """Sessions and borrowings, with the indexes that make each step cheap however many there are."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.borrowings: dict[str, Borrowing] = {}
        self.access = AccessList()
        self._uses: dict[LicenceKey, Use] = {}
        self._instances: dict[Instance, str] = {}
        self._due: list[tuple[int, str]] = []
        self._rules: dict[LicenceKey, list[Rule]] = {}

    # -- questions -----------------------------------------------------------------------------------------

    def use(self, key: LicenceKey) -> Use:
        """How the licence is used now."""
        return self._uses.get(key, Use())

    def holders(self, key: LicenceKey) -> list[Session]:
        """Sessions on the licence, oldest first."""
        return sorted(
            (self.sessions[session] for session in self.use(key).sessions),
            key=lambda session: (session.granted_ms, session.id),
        )

    def borrowed(self, key: LicenceKey) -> list[Borrowing]:
        """Borrowings of the licence, oldest first."""
        return [self.borrowings[borrow] for borrow in self.use(key).borrowings]

    def of_instance(self, instance: Instance) -> str | None:
        """The session of one run place of an application."""
        return self._instances.get(instance)

    def due(self, time_ms: int) -> list[str]:
        """Borrowings whose seats come back by themselves at `time_ms`."""
        while self._due and self._due[0][1] not in self.borrowings:
            heapq.heappop(self._due)
        if not self._due or self._due[0][0] > time_ms:
            return []
        return [borrow for at, borrow in sorted(self._due) if at <= time_ms and borrow in self.borrowings]

    def rules_of(self, key: LicenceKey) -> list[Rule]:
        """The access rules that count seats of the licence."""
        rules = self._rules.get(key)
        if rules is None:
            rules = self._rules[key] = access.seat_rules(self.access, key)
        return rules

    # -- changes -------------------------------------------------------------------------------------------

    def set_access(self, rules: AccessList) -> None:
        """From now on these rules count seats."""
        self.access = rules
        self._rules = {}
        for key, use in self._uses.items():
            use.counts = {}
            for subject in use.subjects():
                self._count(key, use, subject, +1)

    def begin(self, session: Session) -> None:
        """A session takes its seat."""
        self.sessions[session.id] = session
        use = self._uses.setdefault(session.key, Use())
        use.add(session, lambda subject, by: self._count(session.key, use, subject, by))
        if session.instance:
            self._instances[session.run_place] = session.id

    def end(self, session: Session) -> None:
        """A session gives its seat back."""
        del self.sessions[session.id]
        use = self._uses[session.key]
        use.remove(session, lambda subject, by: self._count(session.key, use, subject, by))
        if use.idle:
            del self._uses[session.key]
        if session.instance and self._instances.get(session.run_place) == session.id:
            del self._instances[session.run_place]

    def lend(self, borrowing: Borrowing) -> None:
        """A seat leaves the network."""
        self.borrowings[borrowing.id] = borrowing
        heapq.heappush(self._due, (borrowing.until_ms + BORROW_GRACE_MS, borrowing.id))
        use = self._uses.setdefault(borrowing.key, Use())
        use.lend(borrowing, lambda subject, by: self._count(borrowing.key, use, subject, by))

    def take_back(self, borrowing: Borrowing) -> None:
        """A seat comes back."""
        del self.borrowings[borrowing.id]
        use = self._uses[borrowing.key]
        use.take_back(borrowing, lambda subject, by: self._count(borrowing.key, use, subject, by))
        if use.idle:
            del self._uses[borrowing.key]

    def _count(self, key: LicenceKey, use: Use, subject: Subject, by: int) -> None:
        for rule in self.rules_of(key):
            if access.matches(self.access, rule.who, subject):
                use.counts[rule.name] = use.counts.get(rule.name, 0) + by
