# SPDX-License-Identifier: Apache-2.0
"""Orders of a vendor: licences to issue, change, refill and remove, and the items after them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from tmr.api.deployment import Deployment
from tmr.licensing.checks import check_range
from tmr.licensing.errors import BadItem, NotIssued
from tmr.licensing.items import LicenceKey, ProductItem
from tmr.licensing.options import CODE_MAX, OPTIONS, ItemOptions
from tmr.licensing.update import Update


class Licence(ItemOptions, frozen=True, kw_only=True):
    """A licence to issue; with three containers it gets the next TMR-Id."""

    product_code: int
    expiration_ms: int | None = None


FIXED: Final = frozenset({"firm_code", "product_code", "tmr_id"}) | {
    field for field, option in OPTIONS.items() if option.fixed
}
"""Fields of a Product Item that name it: they never change."""


class LicenceSelector(msgspec.Struct, frozen=True):
    """A licence that a system has: by its TMR-Id, or by product and Product Item Reference."""

    tmr_id: int | None = None
    product_code: int | None = None
    reference: int = 0

    def names(self, key: LicenceKey) -> bool:
        """Tells whether it is this licence."""
        return (
            key.tmr_id == self.tmr_id
            and key.reference == self.reference
            and self.product_code in (None, key.product_code)
        )

    def __str__(self) -> str:
        product = "" if self.product_code is None else f"product {self.product_code} "
        tmr_id = f"TMR-Id {self.tmr_id}" if self.tmr_id is not None else f"reference {self.reference}"
        return product + tmr_id


class Change(msgspec.Struct, frozen=True):
    """Change a licence. `options`: new values of fields of `ProductItem`, none of `FIXED`; the rest stays."""

    which: LicenceSelector
    options: Mapping[str, Any]


class Refill(msgspec.Struct, frozen=True):
    """Add `units` to a licence's Unit Counter."""

    which: LicenceSelector
    units: int


class Removal(msgspec.Struct, frozen=True):
    """Take a licence away. Its TMR-Id, or its reference in that container, is never given again."""

    which: LicenceSelector


Order = Licence | Change | Refill | Removal


def next_tmr_id(history: Sequence[Update]) -> int:
    """One more than any TMR-Id of the firm so far, withdrawn ones included; 1 at first."""
    used = (item.tmr_id for item in _items(history) if item.tmr_id is not None)
    return _in_range(max(used, default=0) + 1)


def _in_range(tmr_id: int) -> int:
    if tmr_id > CODE_MAX:
        raise NotIssued(
            "out-of-range", f"the firm has used all TMR-Ids up to {CODE_MAX}", "use another Firm Code"
        )
    return tmr_id


def carry_out(
    orders: Iterable[Order],
    had: Iterable[ProductItem],
    history: Sequence[Update],
    past: Sequence[Update],
    firm_code: int,
    deployment: Deployment,
) -> tuple[list[ProductItem], set[LicenceKey]]:
    """The items after the orders, and the keys of those that the orders name."""
    has = {item.key: item for item in had}
    touched: set[LicenceKey] = set()
    tmr_id: int | None = None
    for order in orders:
        if isinstance(order, Licence):
            if deployment.tmr_ids:
                tmr_id = next_tmr_id(history) if tmr_id is None else _in_range(tmr_id + 1)
            item = ProductItem(firm_code=firm_code, tmr_id=tmr_id, **msgspec.structs.asdict(order))
            if not deployment.tmr_ids:
                _unused(item.key, has, past)
            has[item.key] = item
        else:
            item = _find(order.which, has)
            if item.key in touched:
                raise NotIssued(
                    "ordered-twice",
                    f"{item.key} is named by two orders",
                    "put both into one, or issue two updates",
                )
            if isinstance(order, Removal):
                del has[item.key]
            else:
                has[item.key] = _changed(item, order)
        touched.add(item.key)
    return list(has.values()), touched


def _changed(item: ProductItem, order: Change | Refill) -> ProductItem:
    if isinstance(order, Refill):
        if item.units is None:
            raise NotIssued(
                "no-unit-counter",
                f"{item.key} has no Unit Counter",
                "give it one by changing the licence: state its units",
            )
        check_range("units to add", order.units, 1, CODE_MAX)
        return msgspec.structs.replace(item, units=item.units + order.units)
    for name in order.options:
        if name in FIXED or name not in ProductItem.__struct_fields__:
            raise BadItem(
                "out-of-range",
                f"{name[:40]!a} is nothing that can be changed in {item.key}",
                "remove the licence and issue another",
            )
    after = msgspec.structs.replace(item, **order.options)
    if item.units is not None and (after.units is None or after.units < item.units):
        raise NotIssued(
            "units-lowered",
            f"{item.key} has {item.units} units issued in all, and would have "
            f"{'no Unit Counter' if after.units is None else after.units}",
            "state all units ever issued, or remove the licence and issue another",
        )
    return after


def _find(which: LicenceSelector, has: Mapping[LicenceKey, ProductItem]) -> ProductItem:
    found = [item for key, item in has.items() if which.names(key)]
    if len(found) != 1:
        known = ", ".join(str(key) for key in sorted(has)[:20]) or "none"
        raise NotIssued(
            "unknown-licence",
            f"the system has no licence {which}; it has {known}{', …' if len(has) > 20 else ''}",
            "name one of those by its TMR-Id, or a plain one by product and reference",
        )
    return found[0]


def _unused(key: LicenceKey, has: Mapping[LicenceKey, ProductItem], past: Sequence[Update]) -> None:
    """Refuse a key that the container has or had: units taken and first use are counted by it."""
    used = {item.key for item in _items(past)} | set(has)
    if key not in used:
        return
    taken = {other.reference for other in used if other.product_code == key.product_code}
    free = next(number for number in range(len(taken) + 1) if number not in taken)
    if key in has:
        raise NotIssued(
            "licence-exists",
            f"the container has the licence {key} already",
            f"change that licence, or issue another with the Product Item Reference {free}",
        )
    raise NotIssued(
        "reference-used",
        f"the container had a licence {key} before, and still counts what was used of it",
        f"use the Product Item Reference {free}",
    )


def _items(updates: Iterable[Update]) -> Iterator[ProductItem]:
    return chain.from_iterable(part.items for update in updates for part in update.parts)
