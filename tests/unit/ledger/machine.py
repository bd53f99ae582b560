# SPDX-License-Identifier: Apache-2.0
"""Random commands for the production ledger and the naive model: they must never differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.unit.ledger.model import Model
from tests.unit.ledger.world import FIRM, START_MS, stated
from tmr.ledger import (
    AccessList,
    BatchOutcome,
    Borrow,
    Borrowed,
    Consume,
    Consumed,
    Denied,
    Free,
    GiveBack,
    Grant,
    Granted,
    Head,
    Ledger,
    Line,
    Rule,
    SetAccess,
    StateContainers,
    SubjectMatch,
    Waiting,
    decode_line,
    each,
    encode,
    link,
    together,
)
from tmr.ledger.access import COUNTING
from tmr.ledger.batching import FORMAT
from tmr.ledger.state import Stored
from tmr.licensing import LicenceKey, ProductItem

PRODUCTS = (1, 2)
KEYS = {p: tuple(LicenceKey(FIRM, p, p * 10 + n) for n in (1, 2, 3)) for p in PRODUCTS}
NOWHERE = "nowhere"

Pick = Callable[[Sequence[Any]], Any]

GRANT: dict[str, Sequence[Any]] = {
    "product": [1, 1, 1, 2],
    "client": ["a", "b"],
    "station": ["x", "y"],
    "user": ["u", "v"],
    "mode": ["user-limit"] * 4 + ["no-user-limit", "exclusive", "exclusive", "station-share"],
    "instance": ["", "", "one"],
    "features": [0, 0, 0, 0, 1, 2],
    "released_ms": [None, None, None, START_MS + 1],
    "units": [0, 0, 0, 1, 4],
    "wait": [True, True, False],
    "skipped": [0, 0, 0, 1],
}
BORROW: dict[str, Sequence[Any]] = {
    "product": [1, 1, 1, 2],
    "client": ["a", "b"],
    "station": ["x", "y"],
    "user": ["u", "v"],
    "seconds": [100, 600, 601],
    "features": [0, 0, 2],
}
WHICH: Sequence[int] = range(100)
STRANGER: Sequence[bool] = [False, False, False, True]
CONSUME = {"which": WHICH, "units": [1, 2, 3, 5], "stranger": STRANGER}
RETRY = {"which": WHICH, "back": [1, 3, 8], "fresh": [False, True], "patient": [True, True, False]}
FREE = {"which": WHICH, "back": [1, 4, 12], "stranger": STRANGER}
STEPS = [1, 1_000, 60_000, 300_000]


def some_items(pick: Pick) -> tuple[ProductItem, ...]:
    """Up to three licences of each product; the third is an emergency licence. Times are from START_MS on."""
    found = []
    for product in PRODUCTS:
        for number in (1, 2, 3):
            if number > 1 and not pick([False, True]):
                continue
            emergency = number == 3
            borrow_s = None if emergency else pick([None, 600, 600])
            quantity = pick([1, 1, 2, 2, 3, None])
            found.append(
                ProductItem(
                    firm_code=FIRM,
                    product_code=product,
                    tmr_id=product * 10 + number,
                    quantity=quantity,
                    linger_s=None if quantity is None else pick([None, None, 1, 120]),
                    named_user=pick([False, False, True]),
                    expiration_ms=pick([None, None, None, START_MS + 400_000]),
                    units=pick([None, 5, 9]),
                    activation_ms=pick([None, START_MS + 60_000] if number == 2 else [None]),
                    usage_s=pick([60, 600] if emergency else [None, None, 300]),
                    maintenance_end_ms=pick([None, None, START_MS]),
                    emergency=emergency,
                    borrow_s=borrow_s,
                    borrow_seats=None if borrow_s is None else pick([None, 1]),
                    feature_map=pick([1, 3, 3]),
                )
            )
    return tuple(found)


def some_rules(pick: Pick) -> AccessList:
    """A few access rules, mostly such as count seats."""
    rules = []
    for number in range(pick([0, 1, 1, 2, 3])):
        effect = pick(["allow", "deny", "limit", "limit", "limit", "reserve", "reserve", "reserve"])
        who = pick([SubjectMatch(users=("u",)), SubjectMatch(users=("v",)), SubjectMatch(hosts=("x",))])
        rules.append(Rule(f"rule-{number}", effect, who, pick([1, 1, 2]) if effect in COUNTING else None))
    return AccessList(tuple(rules))


@st.composite
def items_strategy(draw: st.DrawFn) -> tuple[ProductItem, ...]:
    return some_items(lambda values: draw(st.sampled_from(values)))


@st.composite
def rules_strategy(draw: st.DrawFn) -> AccessList:
    return some_rules(lambda values: draw(st.sampled_from(values)))


def drawn(table: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """A strategy for each argument."""
    return {name: st.sampled_from(values) for name, values in table.items()}


class Comparison(RuleBasedStateMachine):
    """The ledger, a second one that is restored from snapshots, and the model.

    A third one has the same commands in shared entries.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ledger, self.other, self.model = Ledger(), Ledger(), Model()
        self.now, self.index, self.generation = START_MS, 0, 0
        self.sharing, self.shared_index = Ledger(), 0
        self.unshared: list[tuple[bytes, Any, list[Line]]] = []
        """What the third has not had yet: command, outcome, lines of the record."""
        self.heads: dict[int, Head] = {}
        self.requests: list[Any] = []
        self.ids: list[str] = []
        self.borrows: list[str] = []
        self.before: dict[LicenceKey, int] = {}
        """Seats taken of each licence when the last command was done, or the update under way came."""

    # -- commands ------------------------------------------------------------------------------------------

    @initialize(items=items_strategy(), plain=st.booleans())
    def start(self, items: tuple[ProductItem, ...], plain: bool) -> None:
        self.plain = plain
        self._update(items)

    @rule(**drawn(GRANT))
    def grant(self, product: int, skipped: int, **asked: Any) -> None:
        if self.plain:  # what is denied for good tells little of queues
            asked |= {"features": 0, "released_ms": None}
        session = f"session-{self.index}"
        self.ids.append(session)
        keys = KEYS[product][skipped:]
        request_id = f"request-{self.index}"
        self._ask(
            Grant(
                request_id=request_id,
                session=session,
                firm_code=FIRM,
                product_code=product,
                keys=keys,
                ttl=60,
                **asked,
            )
        )

    @rule(**drawn(BORROW))
    def borrow(self, product: int, **asked: Any) -> None:
        self.borrows.append(f"borrow-{self.index}")
        self._ask(
            Borrow(
                request_id=f"request-{self.index}",
                borrow=f"borrow-{self.index}",
                firm_code=FIRM,
                product_code=product,
                keys=KEYS[product],
                borrower="00",
                **asked,
            )
        )

    @precondition(lambda self: self.model.sessions)
    @rule(**drawn(CONSUME))
    def consume(self, which: int, units: int, stranger: bool) -> None:
        held = self.model.sessions[which % len(self.model.sessions)].grant
        client = "stranger" if stranger else held.client
        self._ask(Consume(f"request-{self.index}", client, held.session, units))

    @precondition(lambda self: self.requests)
    @rule(**drawn(RETRY))
    def retry(self, which: int, back: int, fresh: bool, patient: bool) -> None:
        """The same request once more, as a server that knows nothing of the first attempt sends it.

        Not `patient`: it will not wait any longer.
        """
        recent = self.requests[-back:]
        command = recent[which % len(recent)]
        if isinstance(command, Grant):
            command = msgspec.structs.replace(command, session=f"session-{self.index}")
            if not patient:
                command = msgspec.structs.replace(command, wait=False)
            if fresh:
                command = msgspec.structs.replace(command, keys=KEYS[command.product_code])
        elif isinstance(command, Borrow):
            command = msgspec.structs.replace(command, borrow=f"borrow-{self.index}")
        self._do(command)

    @precondition(lambda self: self.requests)
    @rule(which=st.sampled_from(WHICH))
    def use_a_key_again(self, which: int) -> None:
        """A client's mistake: an idempotency key for something else."""
        former = self.requests[which % len(self.requests)]
        self._do(Consume(former.request_id, former.client, NOWHERE, 1))

    @precondition(lambda self: self.ids)
    @rule(**drawn(FREE))
    def free(self, which: int, back: int, stranger: bool) -> None:
        recent = self.ids[-back:]
        client = "stranger" if stranger else None
        self._do(Free(recent[which % len(recent)], client, "release"))

    @precondition(lambda self: self.model.sessions)
    @rule(which=st.sampled_from(WHICH))
    def free_a_holder(self, which: int) -> None:
        held = self.model.sessions[which % len(self.model.sessions)]
        self._do(Free(held.grant.session, held.grant.client, "release"))

    @precondition(lambda self: self.borrows)
    @rule(which=st.sampled_from(WHICH), stranger=st.sampled_from(STRANGER))
    def give_back(self, which: int, stranger: bool) -> None:
        client = "stranger" if stranger else None
        self._do(GiveBack(self.borrows[which % len(self.borrows)], client, "release"))

    @rule(access=rules_strategy(), stale=st.sampled_from([0, 0, 0, 1]))
    def set_access(self, access: AccessList, stale: int) -> None:
        self._do(SetAccess(access, self.ledger.access_version - stale, "operator"))

    @rule(items=items_strategy())
    def update(self, items: tuple[ProductItem, ...]) -> None:
        self._update(items)

    @rule(step=st.sampled_from(STEPS))
    def later(self, step: int) -> None:
        self._share()
        self.now += step

    @rule()
    def snapshot(self) -> None:
        """The second ledger starts again from a snapshot of the first."""
        state = self.ledger.snapshot()
        self.other = Ledger()
        self.other.restore(state)
        assert self.other.snapshot() == state
        self._share()

    # -- comparing -----------------------------------------------------------------------------------------

    def _ask(self, request: Any) -> None:
        self.requests.append(request)
        self._do(request)

    def _update(self, items: tuple[ProductItem, ...]) -> None:
        self.generation += 1
        passed = self.now - START_MS
        items = tuple(
            msgspec.structs.replace(
                one,
                activation_ms=one.activation_ms and one.activation_ms + passed,
                expiration_ms=one.expiration_ms and one.expiration_ms + passed,
            )
            for one in items
        )
        self.before |= self.model.update(self.now, {one.key: one for one in items})
        self._apply(StateContainers(stated(self.generation, items)))

    def _do(self, command: Any) -> None:
        expected = self.model.apply(self.now, command)
        given = self._apply(command)
        assert shown(given) == shown(expected), f"{command}: {given}, expected {expected}"

    def _apply(self, command: Any) -> Any:
        self.index += 1
        body = encode(command)
        reviewed = None
        if isinstance(command, Grant | Borrow | Consume):
            reviewed = self.ledger.review(command, self.now)
        outcome = self.ledger.apply(self.index, self.now, body)
        self.other.apply(self.index, self.now, body)
        assert not isinstance(outcome, BatchOutcome)
        lines = [decode_line(chained.line) for chained in self.ledger.lines]
        self.unshared.append((body, outcome, lines))
        if not outcome.promoted:  # who gets a seat as time goes by may be in the way
            promises(command, reviewed, outcome)
        promoted = sorted(outcome.promoted, key=lambda granted: granted.key.product_code)
        expected = sorted(self.model.promoted, key=lambda granted: granted.key.product_code)
        assert [shown(one) for one in promoted] == [shown(one) for one in expected]
        assert self.ledger.digest() == self.other.digest()
        self.ledger.snapshot()  # raises where its records do not make its digest
        self._record_is_true(outcome)
        self._everything_adds_up()
        return outcome

    def _share(self) -> None:
        """The third ledger catches up: it answers, records and then is the same."""
        outcomes: list[Any] = []
        lines: list[Line] = []
        for entry in together([body for body, _, _ in self.unshared], FORMAT):
            self.shared_index += 1
            came = each(self.sharing.apply(self.shared_index, self.now, entry.body))
            assert len(came) == entry.count
            outcomes += came
            lines += [decode_line(chained.line) for chained in self.sharing.lines]
        assert outcomes == [outcome for _, outcome, _ in self.unshared]
        assert [at(line, 0) for line in lines] == [
            at(line, 0) for _, _, recorded in self.unshared for line in recorded
        ]
        assert stored(self.sharing) == stored(self.ledger)
        self.unshared.clear()

    def _record_is_true(self, outcome: Any) -> None:
        lines = []
        for chained in self.ledger.lines:
            line = decode_line(chained.line)
            head = self.heads.get(line.firm_code, Head())
            assert (line.seq, line.index) == (head.seq + 1, self.index)
            assert chained.hash == link(head.hash, chained.line)
            self.heads[line.firm_code] = Head(line.seq, chained.hash)
            lines.append(line)
        assert self.heads == self.ledger.heads
        begun = {line.id for line in lines if line.event in ("granted", "emergency")}
        assert {granted.session for granted in outcome.promoted} <= begun
        assert {one.id for one in lines if one.event in ("replaced",)} >= {
            one.replaced for one in (outcome,) if isinstance(one, Granted) and one.session in begun
        } - {""}

    def _everything_adds_up(self) -> None:
        for key, merged in self.ledger.licences.items():
            one, seats = merged.item, self._seats(key)
            assert list(self.ledger.use(key).sessions) == [
                held.grant.session for held in self.model.sessions if held.key == key
            ]
            assert seats == self.model.seats(key)
            # an update may leave more seats out than there are now, but none is added to them
            assert one.quantity is None or seats <= max(one.quantity, self.before.get(key, 0))
            self.before[key] = seats
            remaining = self.ledger.remaining(one)
            assert remaining == self.model.remaining(one)
            if remaining is not None and one.units is not None:
                assert 0 <= remaining == max(0, one.units - self.model.units.get(key, 0))
            assert self.ledger.first_use_ms(key) == self.model.first_use.get(key)
        assert set(self.ledger.sessions) == {held.grant.session for held in self.model.sessions}
        assert list(self.ledger.borrowings) == [lent.borrow.borrow for lent in self.model.loans]
        assert set(self.ledger.waiting) == {waits.grant.session for waits in self.model.queue}
        for waits in self.model.queue:
            assert self.ledger.position(waits.grant.session) == self.model.position(waits)

    def _seats(self, key: LicenceKey) -> int:
        return self.ledger.use(key).seats


def play(seed: int, steps: int) -> None:
    """The same comparison without hypothesis: many commands in little time. Raises AssertionError."""
    rnd = Random(seed)
    pick: Pick = rnd.choice
    run = Comparison()
    run.start(some_items(pick), plain=pick([True, True, False]))

    def given(table: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        return {name: pick(values) for name, values in table.items()}

    for _ in range(steps):
        match pick(["grant"] * 10 + ["retry", "free", "later"] * 2 + ["holder"] * 4 + RARE):
            case "grant":
                run.grant(**given(GRANT))
            case "borrow":
                run.borrow(**given(BORROW))
            case "consume" if run.model.sessions:
                run.consume(**given(CONSUME))
            case "retry" if run.requests:
                run.retry(**given(RETRY))
            case "free" if run.ids:
                run.free(**given(FREE))
            case "holder" if run.model.sessions:
                run.free_a_holder(pick(WHICH))
            case "give back" if run.borrows:
                run.give_back(pick(WHICH), pick(STRANGER))
            case "access":
                run.set_access(some_rules(pick), 0)
            case "update":
                run.update(some_items(pick))
            case "later":
                run.later(pick(STEPS))
            case "snapshot":
                run.snapshot()


RARE = ["borrow", "consume", "give back", "access", "update", "snapshot"]


def at(line: Line, index: int) -> Line:
    """The line, had that entry caused it."""
    return msgspec.structs.replace(line, index=index)


def stored(ledger: Ledger) -> Stored:
    """What the ledger keeps, without what follows from the indices of entries."""
    state = msgspec.msgpack.decode(ledger.snapshot(), type=Stored)
    return msgspec.structs.replace(state, digest=b"", heads={})


def promises(command: Any, reviewed: Denied | None, outcome: Any) -> None:
    """A denial that `review` foretells is what comes. (It may still know a key that `apply` forgets.)"""
    if reviewed is not None and reviewed.reason != "conflicting-key":
        assert isinstance(outcome, Denied), f"{command}: {reviewed} was foretold, {outcome} came"
        assert (outcome.reason, outcome.rule) == (reviewed.reason, reviewed.rule)


def shown(outcome: Any) -> Any:
    """What must agree: all but the words for people."""
    match outcome:
        case Denied():
            return "denied", outcome.reason, outcome.rule
        case Granted() | Waiting() | Consumed() | Borrowed():
            return msgspec.structs.replace(outcome, promoted=())
    return msgspec.structs.replace(outcome, promoted=())
