# SPDX-License-Identifier: Apache-2.0
"""All that the ledger keeps, for the parts that carry out commands."""

from tmr.api.deployment import Deployment
from tmr.ledger.choose import LicenceChooser
from tmr.ledger.commands import Request
from tmr.ledger.containers import Containers
from tmr.ledger.memory import IdempotencyTable, StoredOutcome, name_of, question_of
from tmr.ledger.outcomes import PASSING, Denied, Granted, Outcome, Waiting
from tmr.ledger.queue import Queues
from tmr.ledger.recorder import Recorder
from tmr.ledger.seats import Seats
from tmr.ledger.state import Product, Stored
from tmr.ledger.state_digest import StateDigest
from tmr.ledger.timer_queue import TimerQueue
from tmr.ledger.usage_counters import UsageCounters
from tmr.licensing import ProductItem


class LedgerState:
    """Filled from a snapshot. `time_ms`: certified time of the command that is carried out."""

    def __init__(self, stored: Stored, deployment: Deployment) -> None:
        self.digest = digest = StateDigest()
        self.time_ms = stored.time_ms
        self.promoted: list[Granted] = []
        """Sessions that got a seat from the queue by this command."""
        self.access_version = stored.access_version
        self.containers = Containers(
            deployment, stored.trusted, stored.statements, stored.withdrawn, digest=digest
        )
        self.seats = Seats(digest)
        self.seats.set_access(stored.access)
        self.queues = Queues(digest)
        self.usage = UsageCounters(stored.counters, digest)
        self.memory = IdempotencyTable(stored.remembered, stored.ended, stored.steady_ms, digest)
        self.recorder = Recorder(stored.heads, self.containers, digest)
        self.chooser = LicenceChooser(self.containers, self.seats, self.usage)
        for session in stored.sessions:
            self.seats.begin(session)
        for borrowing in stored.borrowings:
            self.seats.lend(borrowing)
        for lingering in stored.lingering:
            self.seats.linger(lingering)
        for waiter in stored.waiting:
            self.queues.add(waiter)
        self.passed_over: set[Product] = set(self.queues.by_product)
        """Queues with a request that only a limit on sessions keeps from a seat. Others may be among them:
        to look at those changes nothing."""
        self.plan()

    def stored(self, digest: bytes) -> Stored:
        """All of it, for a snapshot."""
        return Stored(
            digest,
            self.containers.trusted,
            self.containers.signed,
            list(self.seats.sessions.values()),
            list(self.seats.borrowings.values()),
            self.queues.waiters(),
            self.usage.counters(),
            list(self.memory.ended.values()),
            self.memory.outcomes(),
            self.seats.access,
            self.access_version,
            self.recorder.heads,
            self.time_ms,
            sorted(self.containers.withdrawn),
            self.memory.steady_ms,
            [self.seats.lingering[session] for session in sorted(self.seats.lingering)],
        )

    def state_digest(self) -> bytes:
        """Digest of all of it."""
        return self.digest.value(self.time_ms, self.access_version, self.memory.steady_ms)

    def begin(self, index: int, time_ms: int) -> None:
        """An entry is carried out."""
        self.memory.advance(time_ms - self.time_ms)
        self.time_ms = time_ms
        self.recorder.begin(index, time_ms)

    def next(self) -> None:
        """A command of it is carried out."""
        self.promoted = []
        self.memory.forget()

    def plan(self) -> None:
        """Note when licences become valid, and when they end: queues are looked at then."""
        items = [licence.item for licence in self.containers.licences.values()]
        self.turns: TimerQueue[Product] = TimerQueue(
            (time_ms, (item.firm_code, item.product_code))
            for item in items
            for time_ms in (item.activation_ms, self.usage.ends_ms(item))
            if time_ms is not None and time_ms > self.time_ms
        )
        for lingering in self.seats.lingering.values():
            self.turns.add(lingering.until_ms, lingering.product)

    def use(self, item: ProductItem) -> None:
        """The licence is used: its Usage Period starts, if it has one, and this is the first time."""
        if self.usage.start(item, self.time_ms):
            ends = self.usage.ends_ms(item)
            if ends is not None:
                self.turns.add(ends, (item.firm_code, item.product_code))

    def known(self, client: str, request_id: str) -> StoredOutcome | None:
        """Outcome of the request that `client` made with this idempotency key."""
        place = self.queues.of_request(client, request_id)
        if place is None:
            return self.memory.outcome(client, request_id)
        waiter = self.queues.waiter(place)
        waiting = Waiting(place, self.queues.position(place) or 0, waiter.since_ms)
        name = name_of(client, request_id)
        return StoredOutcome(self.memory.steady_ms, client, name, question_of(waiter.grant), waiting)

    def repeated(self, request: Request) -> Outcome | None:
        """Outcome that answers the request if its idempotency key was used before."""
        known = self.known(request.client, request.request_id)
        if known is None:
            return None
        return known.outcome if known.answers(request) else conflicting_key(request)

    def too_many(self, request: Request) -> Denied | None:
        """Reason to deny a new request: its outcome could not be remembered for its retries."""
        too_many = self.memory.too_many(request.client)
        return Denied("overloaded", too_many) if too_many else None

    def remember(self, request: Request, outcome: Outcome) -> None:
        """The outcome answers every retry of the request from now on, unless it may be another soon."""
        if not (isinstance(outcome, Denied) and outcome.reason in PASSING):
            self.memory.remember(request, outcome)


def conflicting_key(request: Request) -> Denied:
    """The idempotency key was used before, for something else."""
    return Denied("conflicting-key", f"idempotency key {request.request_id} was used for another request")
