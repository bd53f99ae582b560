# SPDX-License-Identifier: Apache-2.0
"""The ledger's state: everything that a snapshot holds."""

import msgspec

from tmr.ledger.access import AccessList, Subject
from tmr.ledger.commands import AccessMode, Grant
from tmr.ledger.holdings import length
from tmr.ledger.record import Head
from tmr.licensing import LicenceKey, SignedStatement

Product = tuple[int, int]
"""Firm Code and Product Code."""
Instance = tuple[str, str, str, int, int]
"""Client, station, instance, Firm Code and Product Code: one run place of an application."""


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
    address: str = ""
    instance: str = ""
    named: bool = False
    """The seat is the user's, and all sessions of the user on the licence share it."""

    @property
    def subject(self) -> Subject:
        """Client that the access rules see."""
        return Subject(self.user, self.station, self.client, self.address)

    @property
    def size(self) -> int:
        """Bytes that it takes in a snapshot, at most."""
        return 150 + length(self.client, self.station, self.user, self.process, self.address, self.instance)

    @property
    def product(self) -> Product:
        """Product that the session uses."""
        return self.key.firm_code, self.key.product_code

    @property
    def run_place(self) -> Instance:
        """Place in which the application runs, if it names its instance."""
        return self.client, self.station, self.instance, self.key.firm_code, self.key.product_code


class Borrowing(msgspec.Struct, frozen=True, array_like=True):
    """A seat that is out of the network until `until_ms`."""

    id: str
    client: str
    key: LicenceKey
    borrower: str
    station: str
    user: str
    address: str
    from_ms: int
    until_ms: int

    @property
    def subject(self) -> Subject:
        """Client that the access rules see."""
        return Subject(self.user, self.station, self.client, self.address)

    @property
    def size(self) -> int:
        """Bytes that it takes in a snapshot, at most."""
        return 200 + length(self.client, self.station, self.user, self.address)

    @property
    def product(self) -> Product:
        """Product that is borrowed."""
        return self.key.firm_code, self.key.product_code


HolderKey = tuple[Product, str, str, str]
"""Product, client, station and user; of a named user's seat, the product and the user alone."""


def holder_of(product: Product, named: bool, client: str, station: str, user: str) -> HolderKey:
    """Holder of a seat: a person at a station, or anywhere if the seat is a named user's."""
    return (product, "", "", user) if named else (product, client, station, user)


class Lingering(msgspec.Struct, frozen=True, array_like=True):
    """A seat that stays taken until `until_ms` after its session `id`, for the holder of that session."""

    id: str
    client: str
    key: LicenceKey
    station: str
    user: str
    address: str
    named: bool
    since_ms: int
    until_ms: int

    @property
    def subject(self) -> Subject:
        """Client that the access rules see."""
        return Subject(self.user, self.station, self.client, self.address)

    @property
    def size(self) -> int:
        """Bytes that it takes in a snapshot, at most."""
        return 150 + length(self.client, self.station, self.user, self.address)

    @property
    def product(self) -> Product:
        """Product of the seat."""
        return self.key.firm_code, self.key.product_code

    @property
    def holder(self) -> HolderKey:
        """Holder that can have the seat again."""
        return holder_of(self.product, self.named, self.client, self.station, self.user)


class Waiter(msgspec.Struct, frozen=True, array_like=True):
    """A request that waits for a seat since `since_ms`."""

    grant: Grant
    since_ms: int


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """End of a session, or of a place in the queue (`key` None).

    `by`: as in `Free`, operator with `who`; or replaced, by the session `who`.
    """

    session: str
    client: str
    key: LicenceKey | None
    by: str
    who: str
    time_ms: int
    steady_ms: int
    """Time of it, in steady time."""


class Counter(msgspec.Struct, frozen=True, array_like=True):
    """Use of one licence so far: units taken in all, and the time of the first use."""

    key: LicenceKey
    spent: int
    first_use_ms: int | None


class Stored(msgspec.Struct, array_like=True):
    """The ledger in a snapshot: lists keep the order of the dictionaries they fill again."""

    digest: bytes = b""
    trusted: dict[str, bytes] = {}
    statements: dict[str, SignedStatement] = {}
    sessions: list[Session] = []
    borrowings: list[Borrowing] = []
    waiting: list[Waiter] = []
    counters: list[Counter] = []
    ended: list[Ended] = []
    remembered: list[bytes] = []
    """Outcomes for retries, each as `memory.Remembered`."""
    access: AccessList = AccessList()
    access_version: int = 0
    heads: dict[int, Head] = {}
    time_ms: int = 0
    """Certified time of the last command."""
    withdrawn: list[str] = []
    """Upstreams whose statement does not count, in order."""
    steady_ms: int = 0
    """Steady time of the last command, see `memory`."""
    lingering: list[Lingering] = []
    """By session."""
