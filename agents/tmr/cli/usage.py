# SPDX-License-Identifier: Apache-2.0
"""Sums of a licence tracking record, product by product. No I/O."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from tmr.ledger import Line

BEGINS: Final = ("granted", "emergency", "borrowed")
ENDS: Final = ("released", "expired", "ended", "replaced", "returned")

Share = tuple[int | None, int, str, str]
"""A station's one seat: TMR-Id, reference, client, station."""


class Product(msgspec.Struct):
    """The use of one product. `peak`: most seats at once, of the sessions and borrowings in the record."""

    product_code: int
    grants: int = 0
    emergency: int = 0
    borrowed: int = 0
    units: int = 0
    denials: int = 0
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    peak: int = 0


class _Seats:
    """Counts seats. Who began before the record does is known only from its end: it held one since then."""

    def __init__(self) -> None:
        self._open: dict[str, Share | bool | None] = {}
        self._shares: Counter[Share] = Counter()
        self._now = 0
        self._most = 0
        self._earlier = 0

    @property
    def peak(self) -> int:
        return self._earlier + self._most

    def begin(self, line: Line) -> None:
        if line.mode == "no-user-limit":
            self._open[line.id] = False
            return
        if line.mode == "station-share":
            share = (line.tmr_id, line.reference, line.client, line.station)
            self._open[line.id] = share
            self._shares[share] += 1
            if self._shares[share] > 1:
                return
        else:
            self._open[line.id] = None
        self._now += 1
        self._most = max(self._most, self._now)

    def end(self, line: Line) -> None:
        if line.id not in self._open:
            if line.mode != "no-user-limit":
                self._earlier += 1
                self._now -= 1
            return
        share = self._open.pop(line.id)
        if share is False:
            return
        if isinstance(share, tuple):
            self._shares[share] -= 1
            if self._shares[share]:
                return
            del self._shares[share]
        self._now -= 1


class Usage:
    """Adds up lines, given in their order."""

    def __init__(self) -> None:
        self._products: dict[int, Product] = {}
        self._seats: dict[int, _Seats] = {}

    def add(self, line: Line) -> None:
        """Count one line."""
        if line.event == "time-accepted":
            return  # of no product
        product = self._products.setdefault(line.product_code, Product(line.product_code))
        seats = self._seats.setdefault(line.product_code, _Seats())
        match line.event:
            case "granted" | "emergency":
                product.grants += 1
                product.emergency += line.event == "emergency"
            case "borrowed":
                product.borrowed += 1
            case "units":
                product.units += line.units
            case "denied":
                product.denials += line.count
                product.reasons[line.reason] += line.count
        if line.event in BEGINS:
            seats.begin(line)
        elif line.event in ENDS:
            seats.end(line)
        product.peak = seats.peak

    def products(self) -> Iterator[Product]:
        """All products, by their Product Code."""
        for code in sorted(self._products):
            yield self._products[code]
