# SPDX-License-Identifier: Apache-2.0
"""Seats taken by sessions and borrowings: by licence, by instance, by the time when they end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from tmr.ledger import access
from tmr.ledger.access import AccessList, Rule, Subject, Verdict
from tmr.ledger.commands import Grant
from tmr.ledger.holdings import Holdings
from tmr.ledger.state import Borrowing, HolderKey, Instance, Lingering, Session, holder_of
from tmr.ledger.state_digest import StateDigest
from tmr.ledger.timer_queue import TimerQueue
from tmr.ledger.use import SeatUse
from tmr.licensing import LicenceKey

BORROW_GRACE_MS: Final = 60_000
"""A borrowed seat is counted so much longer than its file is valid: the borrower's clock may be behind."""
MAX_LINGERING: Final = 50_000
"""Seats that are kept for their former holders at a time, half of them those of one client; beyond, a seat
comes back at once."""
MAX_LINGERING_SIZE: Final = 16 * 2**20
"""Bytes that they may take in a snapshot, half of it those of one client."""
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
        self.lingering: dict[str, Lingering] = {}
        self._lingering_of: dict[HolderKey, dict[str, Lingering]] = {}
        self._kept: Holdings[Lingering] = Holdings()
        self._lingering_due: TimerQueue[str] = TimerQueue()
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

    def lingering_for(self, grant: Grant) -> Lingering | None:
        """Seat that the request's holder had, and can have again; of several, the one that ends first."""
        if not self.lingering or grant.mode == "no-user-limit":
            return None
        found = [
            lingering
            for named in (False, True)
            for lingering in self._lingering_of.get(
                holder_of(grant.product, named, grant.client, grant.station, grant.user), {}
            ).values()
            if lingering.key in grant.keys
        ]
        return min(found, key=lambda one: (one.until_ms, one.id), default=None)

    def lingering_over(self, time_ms: int) -> list[Lingering]:
        """Seats whose Linger Time is over at `time_ms`."""
        return [self.lingering[session] for session in self._lingering_due.until(time_ms)]

    def may_linger(self, client: str) -> bool:
        """Tells whether one more seat of the client can be kept."""
        number, size = len(self._kept.of(client)), self._kept.size_of(client)
        return (
            len(self.lingering) < MAX_LINGERING
            and self._kept.size < MAX_LINGERING_SIZE
            and number < MAX_LINGERING // 2
            and size < MAX_LINGERING_SIZE // 2
        )

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

    def linger(self, lingering: Lingering) -> None:
        """The seat of a session that ended is kept for its holder."""
        self.lingering[lingering.id] = lingering
        self._lingering_of.setdefault(lingering.holder, {})[lingering.id] = lingering
        self._kept.add(lingering)
        self._digest.add(b"lingering", lingering)
        self._lingering_due.add(lingering.until_ms, lingering.id)
        use = self._used(lingering.key)
        use.linger(lingering, lambda subject, by: self._count(lingering.key, use, subject, by))

    def stop_lingering(self, lingering: Lingering) -> None:
        """The seat comes back."""
        del self.lingering[lingering.id]
        of_holder = self._lingering_of[lingering.holder]
        del of_holder[lingering.id]
        if not of_holder:
            del self._lingering_of[lingering.holder]
        self._kept.remove(lingering)
        self._digest.remove(b"lingering", lingering)
        self._lingering_due.remove(lingering.until_ms, lingering.id)
        use = self._uses[lingering.key]
        use.stop_lingering(lingering, lambda subject, by: self._count(lingering.key, use, subject, by))
        if use.idle:
            del self._uses[lingering.key]

    @contextmanager
    def without(self, *free: Lingering) -> Iterator[None]:
        """The seats as they are for the holder of these that are kept, or once their time is over."""
        for lingering in free:
            self.stop_lingering(lingering)
        try:
            yield
        finally:
            for lingering in free:
                self.linger(lingering)

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
