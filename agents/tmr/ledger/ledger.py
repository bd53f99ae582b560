# SPDX-License-Identifier: Apache-2.0
"""`apply(entry) → outcome`: seats, queues, units, borrowings, access rules, the record. The same everywhere.

Nothing here may depend on anything but the entries: no clock, no order of a set, no container at hand.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar

import msgspec

from tmr.api.deployment import TMR, Deployment
from tmr.ledger import consuming, granting, lending
from tmr.ledger.access import AccessList, mistakes
from tmr.ledger.choose import Denial, LicenceQuery
from tmr.ledger.commands import (
    AcceptTime,
    Borrow,
    Command,
    CommandBatch,
    Consume,
    Free,
    GiveBack,
    Grant,
    RecordDenials,
    Request,
    SetAccess,
    StateContainers,
    Trust,
    Withdraw,
    decode,
    decode_shared,
)
from tmr.ledger.ledger_state import LedgerState, conflicting_key
from tmr.ledger.memory import STEP_MS, StoredOutcome
from tmr.ledger.outcomes import AccessSet, BatchOutcome, ContainersStated, DenialsRecorded, Denied, Outcome
from tmr.ledger.promote import blocked, promote, promote_all
from tmr.ledger.record import ChainedLine, Head
from tmr.ledger.snapshot_digest import digest_of
from tmr.ledger.state import Borrowing, Counter, Ended, Lingering, Product, Session, Stored, Waiter
from tmr.ledger.state_digest import DamagedState
from tmr.ledger.use import SeatUse
from tmr.licensing import LicenceKey, Merged, MergedLicence, ProductItem, Statement
from tmr.licensing.packed import unpack

_encoder = msgspec.msgpack.Encoder()
_stored_decoder: Final[msgspec.msgpack.Decoder[Stored]] = msgspec.msgpack.Decoder(Stored)


T = TypeVar("T")
AHEAD_MAX: Final = 2_000
"""Entries whose commands are kept between the look at them and `apply`."""
FIRST: Final = 1
"""The first format of the journal. What `apply` does with an entry depends on its format, and on nothing that
a version knows besides."""


class Ledger:
    """Everything that one system's journal says. `deployment`: what is a licence depends on it."""

    _ledger_state: LedgerState

    def __init__(self, deployment: Deployment = TMR) -> None:
        self.deployment = deployment
        self._ahead: dict[bytes, Command | CommandBatch] = {}
        """Commands of bodies that were looked at: they need not be read twice."""
        self.restore(b"")

    # -- the state machine that the quorum drives ----------------------------------------------------------

    def apply(
        self, index: int, time_ms: int, body: bytes, entry_format: int = FIRST
    ) -> Outcome | BatchOutcome:
        """Carry out one committed command, or several that share an entry, of this format."""
        self._ledger_state.begin(index, time_ms)
        outcome = self._outcome(body)
        self._ledger_state.recorder.settle()
        return outcome

    def unreadable(self, body: bytes, entry_format: int = FIRST) -> str:
        """Reason why this version cannot carry the body's commands out; empty: it can.

        A replica asks before it stores one: to deny what a newer version carries out makes another state.
        """
        try:
            command = decode(body)
            if isinstance(command, CommandBatch):
                for one in command.bodies:
                    decode_shared(one)
        except msgspec.MsgspecError as error:
            return f"its command cannot be read ({error})"
        if len(self._ahead) >= AHEAD_MAX:
            self._ahead.clear()
        self._ahead[body] = command
        return ""

    def _outcome(self, body: bytes) -> Outcome | BatchOutcome:
        known = self._ahead.pop(body, None)
        command = _read(decode, body) if known is None else known
        if isinstance(command, CommandBatch):
            return BatchOutcome(tuple([self._one(_read(decode_shared, one)) for one in command.bodies]))
        return self._one(command)

    def _one(self, command: Command | Denied) -> Outcome:
        """Carry out one command. What time alone has changed comes before it."""
        ledger_state = self._ledger_state
        ledger_state.next()
        for over in ledger_state.seats.lingering_over(ledger_state.time_ms):
            ledger_state.seats.stop_lingering(over)
        for product in ledger_state.turns.pop(ledger_state.time_ms):
            promote(ledger_state, product, thorough=True)
        outcome = command if isinstance(command, Denied) else self._carry_out(command)
        if ledger_state.promoted:
            outcome = msgspec.structs.replace(outcome, promoted=tuple(ledger_state.promoted))
        return outcome

    def _carry_out(self, command: Command) -> Outcome:
        match command:
            case Grant():
                return granting.grant(self._ledger_state, command)
            case Free():
                return granting.free(self._ledger_state, command)
            case Consume():
                return consuming.consume(self._ledger_state, command)
            case Borrow():
                return lending.borrow(self._ledger_state, command)
            case GiveBack():
                return lending.give_back(self._ledger_state, command)
            case StateContainers():
                changed, rejected = self._ledger_state.containers.state(command.statements)
                return self._stated(changed, rejected)
            case Trust():
                return self._stated(self._ledger_state.containers.trust(command), [])
            case Withdraw():
                return self._stated(self._ledger_state.containers.withdraw(command), [])
            case SetAccess():
                return self._set_access(command)
            case RecordDenials():
                self._ledger_state.recorder.refused(command.denials)
                return DenialsRecorded()
            case AcceptTime():
                self._ledger_state.recorder.time_accepted(command.before_ms, command.who)
                return DenialsRecorded()
        raise AssertionError(f"unknown command {command}")

    def _stated(self, changed: list[LicenceKey], rejected: list[str]) -> ContainersStated:
        if changed:
            self._ledger_state.plan()
            promote_all(self._ledger_state)
        return ContainersStated(tuple(changed), tuple(rejected))

    def _set_access(self, command: SetAccess) -> Outcome:
        version = self.access_version
        if command.version == version - 1 and command.access == self.access:
            return AccessSet(version)  # a retry, or another operator with the same list
        if command.version != version:
            return Denied(
                "access-list-changed", f"the access list is at version {version}, not at {command.version}"
            )
        wrong = mistakes(command.access)
        if wrong:
            return Denied("bad-request", f"the access list cannot be used: {wrong[0]}")
        self._ledger_state.seats.set_access(command.access)
        self._ledger_state.access_version += 1
        promote_all(self._ledger_state)
        return AccessSet(self.access_version)

    def digest(self) -> bytes:
        """Digest of the whole state, without text for people: two ledgers that differ in it differ here."""
        return self._ledger_state.state_digest()

    def snapshot(self, entry_format: int = FIRST) -> bytes:
        """The whole state, in this format. Raises DamagedState where its records did not make its digest."""
        stored = self._ledger_state.stored(self._ledger_state.state_digest())
        if digest_of(stored) != stored.digest:
            raise DamagedState("the ledger in memory is damaged: its records do not make its digest")
        return _encoder.encode(stored)

    def restore(self, state: bytes, entry_format: int = FIRST) -> None:
        """Become what `snapshot` wrote in this format; empty bytes: a ledger before its first command.

        Raises msgspec.DecodeError, or DamagedState where the records do not make their digest.
        """
        stored = unpack(_stored_decoder, state) if state else Stored()
        ledger_state = LedgerState(stored, self.deployment)
        if state and ledger_state.state_digest() != stored.digest:
            raise DamagedState("the state is damaged: its records do not make its digest")
        self._ledger_state = ledger_state

    # -- what is held --------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Mapping[str, Session]:
        """Sessions by id, in the order of their grants."""
        return self._ledger_state.seats.sessions

    @property
    def borrowings(self) -> Mapping[str, Borrowing]:
        """Borrowings by id."""
        return self._ledger_state.seats.borrowings

    def sessions_of(self, client: str) -> Mapping[str, Session]:
        """The client's sessions by id, in the order of their grants."""
        return self._ledger_state.seats.held.of(client)

    def borrowings_of(self, client: str) -> Mapping[str, Borrowing]:
        """The client's borrowings by id, in their order."""
        return self._ledger_state.seats.lent.of(client)

    @property
    def queues(self) -> Mapping[Product, Mapping[str, Waiter]]:
        """For each product its places in their order, by id."""
        return self._ledger_state.queues.by_product

    @property
    def waiting(self) -> Mapping[str, Product]:
        """Places in the queues: id → product."""
        return self._ledger_state.queues.places

    @property
    def ended(self) -> Mapping[str, Ended]:
        """Ends of sessions and places, by id; those of the last hour."""
        return self._ledger_state.memory.ended

    @property
    def access(self) -> AccessList:
        """The access rules in force."""
        return self._ledger_state.seats.access

    @property
    def access_version(self) -> int:
        """Rises with each change of the access rules."""
        return self._ledger_state.access_version

    @property
    def heads(self) -> Mapping[int, Head]:
        """Heads of the record's chains, by Firm Code."""
        return self._ledger_state.recorder.heads

    @property
    def lines(self) -> list[ChainedLine]:
        """Lines that the last entry added to the record."""
        return self._ledger_state.recorder.lines

    @property
    def trusted(self) -> Mapping[str, bytes]:
        """The key of each upstream's container."""
        return self._ledger_state.containers.trusted

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """The fingerprint of that key."""
        return self._ledger_state.containers.fingerprints

    @property
    def statements(self) -> Mapping[str, Statement]:
        """Statements that each upstream's container made last, withdrawn or not."""
        return self._ledger_state.containers.statements

    @property
    def withdrawn(self) -> Collection[str]:
        """Upstreams whose statement does not count: their container is gone."""
        return self._ledger_state.containers.withdrawn

    @property
    def merged(self) -> Merged:
        """The containers as one."""
        return self._ledger_state.containers.merged

    @property
    def licences(self) -> Mapping[LicenceKey, MergedLicence]:
        """The licences served. Another object whenever they were merged anew."""
        return self._ledger_state.containers.licences

    # -- what the server asks ------------------------------------------------------------------------------

    def use(self, key: LicenceKey) -> SeatUse:
        """Use of the licence now."""
        return self._ledger_state.seats.use(key)

    def holders(self, key: LicenceKey) -> list[Session]:
        """Sessions on the licence, oldest first."""
        return self._ledger_state.seats.holders(key)

    def borrowed(self, key: LicenceKey) -> list[Borrowing]:
        """Borrowings of the licence, oldest first."""
        return self._ledger_state.seats.borrowed(key)

    def lingering(self, key: LicenceKey) -> list[Lingering]:
        """Seats of the licence that are kept for their former holders."""
        seats = self._ledger_state.seats
        return [seats.lingering[session] for session in seats.use(key).lingering]

    def due(self, time_ms: int) -> list[str]:
        """Borrowings whose seats come back by themselves at `time_ms`."""
        return self._ledger_state.seats.due(time_ms)

    @property
    def counters(self) -> list[Counter]:
        """Units taken, and first uses, of each licence that was counted."""
        return self._ledger_state.usage.counters()

    def remaining(self, item: ProductItem) -> int | None:
        """Units that remain of the licence; None: it has no Unit Counter."""
        return self._ledger_state.usage.remaining(item)

    def first_use_ms(self, key: LicenceKey) -> int | None:
        """Time at which a licence with a Usage Period was used first; None: not yet."""
        return self._ledger_state.usage.first_use_ms(key)

    def ends_ms(self, item: ProductItem) -> int | None:
        """End of the licence's validity, as far as it is known."""
        return self._ledger_state.usage.ends_ms(item)

    def invalid(self, item: ProductItem, time_ms: int) -> Denied | None:
        """Reason why nobody can use the licence at `time_ms`, by its own options."""
        return self._ledger_state.usage.invalid(item, time_ms)

    def position(self, place: str) -> int | None:
        """Position of a place in its queue, 1 is next; None: there is no such place."""
        return self._ledger_state.queues.position(place)

    def remembered(self, client: str, request_id: str) -> StoredOutcome | None:
        """Outcome of the request that `client` made with this idempotency key."""
        return self._ledger_state.known(client, request_id)

    def keeps_record(self, firm_code: int) -> bool:
        """Tells whether there is, or may be, a record for this firm."""
        return self._ledger_state.recorder.keeps(firm_code)

    def ripe(self, time_ms: int) -> bool:
        """Tells whether time alone may have changed what a client can have.

        Any command, such as a `RecordDenials` of nothing, has that looked at.

        A licence that a request waits for became valid, or ended; a Linger Time is over; or outcomes may
        have grown so old that there is room for new ones.
        """
        memory = self._ledger_state.memory
        if (memory.full or memory.crowded) and time_ms - self._ledger_state.time_ms >= STEP_MS:
            return True
        if self._ledger_state.seats.lingering_over(time_ms):
            return True
        return any(product in self.queues for product in self._ledger_state.turns.until(time_ms))

    def review(self, request: Request, time_ms: int) -> Denied | None:
        """Reason to deny `request` now, without changing anything; None: there is none, or it is known."""
        ledger_state = self._ledger_state
        known = self.remembered(request.client, request.request_id)
        if known is not None:
            return None if known.answers(request) else conflicting_key(request)
        if denied := ledger_state.too_many(request):
            return denied
        if isinstance(request, Consume):
            return consuming.review(ledger_state, request, time_ms)
        if isinstance(request, Grant) and granting.former_of(ledger_state, request) is not None:
            return None  # it replaces what may be in its way
        with ledger_state.seats.without(*ledger_state.seats.lingering_over(time_ms)):
            choice = self._choice(request, time_ms)
        if isinstance(choice, ProductItem):
            return None
        if isinstance(request, Grant) and request.wait and choice.queues:
            return choice.denied if ledger_state.queues.full(request.product, request.client) else None
        return choice.denied

    def _choice(self, request: Grant | Borrow, time_ms: int) -> ProductItem | Denial:
        ledger_state = self._ledger_state
        reserved = blocked(ledger_state, request.product, time_ms)
        if isinstance(request, Grant):
            return ledger_state.chooser.choose_again(request, time_ms, reserved)[0]
        return ledger_state.chooser.choose(LicenceQuery.by(request), time_ms, reserved)

    def reviews(self, request: Grant | Borrow, time_ms: int) -> list[tuple[LicenceKey, Denied | None]]:
        """For each candidate whether it would be given now, or why not. For explanations."""
        ledger_state, asked = self._ledger_state, LicenceQuery.by(request)
        seats, found = ledger_state.seats, list[tuple[LicenceKey, Denied | None]]()
        with seats.without(*seats.lingering_over(time_ms)):
            reserved = blocked(ledger_state, request.product, time_ms)
            kept = seats.lingering_for(request) if isinstance(request, Grant) else None
            for key in asked.keys:
                merged = self.licences.get(key)
                if merged is None:
                    continue
                own = [kept] if kept is not None and kept.key == key else []
                with seats.without(*own):
                    refusal = ledger_state.chooser.refusal(
                        merged.item, asked, time_ms, () if own else reserved
                    )
                found.append((key, refusal.denied if refusal else None))
        return found


def _read(decoded: Callable[[bytes], T], body: bytes) -> T | Denied:
    """Applies the command; one that no twin can have meant changes nothing: the entry cannot be undone."""
    try:
        return decoded(body)
    except msgspec.MsgspecError as error:
        return Denied("bad-request", f"the command cannot be read: {error}")
