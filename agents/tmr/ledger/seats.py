# SPDX-License-Identifier: Apache-2.0
"""Seats taken by sessions and borrowings: by licence, by instance, by the time when they end."""

from collections.abc import Sequence
from typing import Final

from tmr.ledger import access
from tmr.ledger.access import AccessList, Rule, Subject, Verdict
from tmr.ledger.holdings import Holdings
from tmr.ledger.state import Borrowing, Instance, Session
from tmr.ledger.state_digest import StateDigest
from tmr.ledger.timer_queue import TimerQueue
from tmr.ledger.use import SeatUse
from tmr.licensing import LicenceKey

BORROW_GRACE_MS: Final = 60_000
"""A borrowed seat is counted so much longer than its file is valid: the borrower's clock may be behind."""
MATCHES: Final = 10_000
"""Subjects whose matching rules are kept at hand."""
VERDICTS: Final = 50_000
"""Verdicts that are kept: the ledger asks for waiting requests again and again."""
_ANYBODY: Final = Verdict(allowed=True, rule="")


class Seats:
    """Sessions and borrowings, with the indexes that make each step cheap however many there are."""

    def __init__(self, digest: StateDigest) -> None:
        self._digest = digest
        self.sessions: dict[str, Session] = {}
        self.borrowings: dict[str, Borrowing] = {}
        self.held: Holdings[Session] = Holdings()
        self.lent: Holdings[Borrowing] = Holdings()
        self.access = AccessList()
        self._uses: dict[LicenceKey, SeatUse] = {}
        self._instances: dict[Instance, str] = {}
        self._due: TimerQueue[str] = TimerQueue()
        self._rules: dict[LicenceKey, list[Rule]] = {}
        self._rules_number = 0
        self._matching: dict[Subject, frozenset[str]] = {}
        self._verdicts: dict[tuple[LicenceKey, Subject], Verdict] = {}

    # -- questions -----------------------------------------------------------------------------------------

    def use(self, key: LicenceKey) -> SeatUse:
        """Use of the licence now."""
        found = self._uses.get(key)
        return SeatUse() if found is None else found

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
        return self._due.until(time_ms)

    def verdict(self, key: LicenceKey, subject: Subject) -> Verdict:
        """Verdict of the rules that admit and refuse."""
        if not self.access.rules:
            return _ANYBODY
        found = self._verdicts.get((key, subject))
        if found is None:
            if len(self._verdicts) >= VERDICTS:
                self._verdicts.clear()
            found = self._verdicts[key, subject] = access.verdict(self.access, key, subject)
        return found

    def rules_of(self, key: LicenceKey) -> Sequence[Rule]:
        """The access rules that count seats of the licence."""
        if not self.access.rules:
            return ()
        rules = self._rules.get(key)
        if rules is None:
            rules = self._rules[key] = access.seat_rules(self.access, key)
        return rules

    def matching(self, subject: Subject) -> frozenset[str]:
        """Names of the rules that count seats, whatever licence they are about, and match the subject."""
        found = self._matching.get(subject)
        if found is None:
            if len(self._matching) >= MATCHES:
                self._matching.clear()
            found = self._matching[subject] = frozenset(
                rule.name
                for rule in self.access.rules
                if rule.effect in access.COUNTING and access.matches(self.access, rule.who, subject)
            )
        return found

    def counts(self, key: LicenceKey) -> dict[str, int]:
        """Seats of the licence that each rule counts, by the rule's name."""
        use = self._uses.get(key)
        if use is None:
            return {}
        if use.counted != self._rules_number:
            use.counts, use.counted = {}, self._rules_number
            for subject in use.subjects():
                self._count(key, use, subject, +1)
        return use.counts

    # -- changes -------------------------------------------------------------------------------------------

    def set_access(self, rules: AccessList) -> None:
        """From now on these rules count seats."""
        self.access = rules
        self._digest.replace(b"access", rules)
        self._rules, self._matching, self._verdicts = {}, {}, {}
        self._rules_number += 1  # seats are counted when somebody asks for the licence, not all of them now

    def begin(self, session: Session) -> None:
        """A session takes its seat."""
        self.sessions[session.id] = session
        self._digest.add(b"session", session)
        self.held.add(session)
        use = self._used(session.key)
        use.add(session, lambda subject, by: self._count(session.key, use, subject, by))
        if session.instance:
            self._instances[session.run_place] = session.id

    def end(self, session: Session) -> None:
        """A session gives its seat back."""
        del self.sessions[session.id]
        self._digest.remove(b"session", session)
        self.held.remove(session)
        use = self._uses[session.key]
        use.remove(session, lambda subject, by: self._count(session.key, use, subject, by))
        if use.idle:
            del self._uses[session.key]
        if session.instance and self._instances.get(session.run_place) == session.id:
            del self._instances[session.run_place]

    def lend(self, borrowing: Borrowing) -> None:
        """A seat leaves the network."""
        self.borrowings[borrowing.id] = borrowing
        self._digest.add(b"borrowing", borrowing)
        self.lent.add(borrowing)
        self._due.add(borrowing.until_ms + BORROW_GRACE_MS, borrowing.id)
        use = self._used(borrowing.key)
        use.lend(borrowing, lambda subject, by: self._count(borrowing.key, use, subject, by))

    def take_back(self, borrowing: Borrowing) -> None:
        """A seat comes back."""
        del self.borrowings[borrowing.id]
        self._digest.remove(b"borrowing", borrowing)
        self.lent.remove(borrowing)
        self._due.remove(borrowing.until_ms + BORROW_GRACE_MS, borrowing.id)
        use = self._uses[borrowing.key]
        use.take_back(borrowing, lambda subject, by: self._count(borrowing.key, use, subject, by))
        if use.idle:
            del self._uses[borrowing.key]

    def _used(self, key: LicenceKey) -> SeatUse:
        use = self._uses.get(key)
        if use is None:
            use = self._uses[key] = SeatUse(counted=self._rules_number)
        return use

    def _count(self, key: LicenceKey, use: SeatUse, subject: Subject, by: int) -> None:
        rules = self.rules_of(key)
        if not rules or use.counted != self._rules_number:
            return
        matching = self.matching(subject)
        for rule in rules:
            if rule.name in matching:
                use.counts[rule.name] = use.counts.get(rule.name, 0) + by
