# SPDX-License-Identifier: Apache-2.0
"""A ledger with containers, for tests: the shortest way to say what is asked and when."""

from functools import cache
from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.ledger import (
    AccessList,
    BatchOutcome,
    Borrow,
    Command,
    Consume,
    ContainersStated,
    Free,
    GiveBack,
    Grant,
    Ledger,
    Line,
    Outcome,
    Rule,
    SetAccess,
    StateContainers,
    decode_line,
    encode,
)
from tmr.ledger.snapshot_digest import digest_of
from tmr.ledger.state import Stored
from tmr.licensing import LicenceKey, ProductItem, SignedStatement, Statement, sign

FIRM, PRODUCT = 6_000_010, 1001
START_MS = 1_800_000_000_000
SECOND, MINUTE = 1000, 60_000
T = TypeVar("T")


@cache
def container_key(number: int) -> Ed25519PrivateKey:
    """The key of container 1, 2 or 3."""
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def item(tmr_id: int = 1, quantity: int | None = 1, **options: Any) -> ProductItem:
    """A licence of the product."""
    options = {"product_code": PRODUCT, "expiration_ms": None, **options}
    return ProductItem(firm_code=FIRM, tmr_id=tmr_id, quantity=quantity, **options)


def key(tmr_id: int = 1) -> LicenceKey:
    """Its name."""
    return LicenceKey(FIRM, PRODUCT, tmr_id)


def stated(generation: int, items: tuple[ProductItem, ...]) -> tuple[SignedStatement, ...]:
    """What the three containers state that hold the same items."""
    return tuple(
        sign(Statement(f"up{n}", f"130-100{n}", "test-0123456789abcdef", generation, items), container_key(n))
        for n in (1, 2, 3)
    )


class World:
    """A ledger, a clock that the test moves, and who asks."""

    def __init__(self, *items: ProductItem) -> None:
        self.ledger = Ledger()
        self.now = START_MS
        self.record: list[Line] = []
        self._index = self._serial = self._generation = 0
        self.update(*items)

    def do(self, command: Command) -> Outcome:
        """Carry out a command now."""
        self._index += 1
        outcome = self.ledger.apply(self._index, self.now, encode(command))
        assert not isinstance(outcome, BatchOutcome)
        self.record += [decode_line(chained.line) for chained in self.ledger.lines]
        return outcome

    def update(self, *items: ProductItem) -> ContainersStated:
        """The containers hold these licences from now on."""
        self._generation += 1
        outcome = self.do(StateContainers(stated(self._generation, items)))
        assert isinstance(outcome, ContainersStated)
        return outcome

    def pass_time(self, milliseconds: int) -> None:
        """Later."""
        self.now += milliseconds

    def next_id(self, prefix: str) -> str:
        """A new name."""
        self._serial += 1
        return f"{prefix}{self._serial}"

    def asking(self, **values: Any) -> Grant:
        """A request for a session, by default of the client `alice` on `here` for any licence."""
        licences = tuple(self.ledger.licences)
        asked: dict[str, Any] = {
            "request_id": self.next_id("request-"),
            "session": self.next_id("session-"),
            "client": "alice",
            "firm_code": FIRM,
            "product_code": PRODUCT,
            "keys": licences,
            "mode": "user-limit",
            "ttl": 60,
            "station": "here",
            "user": "alice",
        }
        return Grant(**{**asked, **values})

    def grant(self, **values: Any) -> Any:
        """The outcome of such a request."""
        return self.do(self.asking(**values))

    def free(self, session: str, client: str | None = None) -> Any:
        """End a session or give up a place."""
        return self.do(self.freeing(session, client))

    def freeing(self, session: str, client: str | None = None) -> Free:
        """The command that does that."""
        return Free(session, client, "release")

    def consume(self, session: str, units: int, client: str = "alice", request_id: str = "") -> Any:
        """Take units."""
        return self.do(Consume(request_id or self.next_id("request-"), client, session, units))

    def borrow(self, seconds: int, **values: Any) -> Any:
        """Take a seat out of the network."""
        asked: dict[str, Any] = {
            "request_id": self.next_id("request-"),
            "borrow": self.next_id("borrow-"),
            "client": "alice",
            "firm_code": FIRM,
            "product_code": PRODUCT,
            "keys": tuple(self.ledger.licences),
            "borrower": "00" * 32,
            "station": "here",
            "user": "alice",
        }
        return self.do(Borrow(seconds=seconds, **{**asked, **values}))

    def give_back(self, borrow: str, client: str | None = None) -> Any:
        """Bring it back."""
        return self.do(GiveBack(borrow, client, "release"))

    def rules(self, *rules: Rule, **groups: Any) -> Any:
        """These access rules are in force."""
        return self.do(SetAccess(AccessList(rules, groups), self.ledger.access_version, "operator"))

    def seats(self, tmr_id: int = 1) -> int:
        """Seats taken of a licence."""
        return self.ledger.use(key(tmr_id)).seats

    def events(self) -> list[str]:
        """What the record says, in short."""
        return [line.event for line in self.record]


def sealed(stored: Stored) -> bytes:
    """The state in a snapshot, with the digest of its records."""
    return msgspec.msgpack.encode(msgspec.structs.replace(stored, digest=digest_of(stored)))
