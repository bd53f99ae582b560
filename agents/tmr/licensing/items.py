# SPDX-License-Identifier: Apache-2.0
"""Product Items, the licences of a container, and the key that tells one from another.

Their options are those of the table in `tmr.licensing.options`.
"""

import functools
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import msgspec

from tmr.api.deployment import Deployment
from tmr.licensing.checks import check_option, check_range
from tmr.licensing.errors import BadItem
from tmr.licensing.options import CODE_MAX, OPTIONS, ItemOptions

FIRM_CODE_MIN: Final = 6_000_000
"""Universal Firm Codes start here."""
ITEMS_MAX: Final = 5_000
"""Product Items in one container."""
ITEMS_BYTES: Final = 2 * 2**20
"""Bytes of them: the statements of three containers must fit one journal entry."""
_CHECKED: Final = tuple(OPTIONS.items())


class LicenceKey(msgspec.Struct, frozen=True, array_like=True):
    """Key of a licence: Firm Code, Product Code and TMR-Id (`None`: a plain licence, outside any TMR).

    `reference` tells apart the plain licences of one product (CodeMeter's Product Item Reference); with a
    TMR-Id it is 0. Hashable and ordered; within a product plain licences come first. Raises `BadItem`.
    """

    firm_code: int
    product_code: int
    tmr_id: int | None
    reference: int = 0

    def __post_init__(self) -> None:
        check_range("Firm Code", self.firm_code, FIRM_CODE_MIN, CODE_MAX)
        check_range("Product Code", self.product_code, 0, CODE_MAX)
        if self.tmr_id is not None:
            check_range("TMR-Id", self.tmr_id, 1, CODE_MAX)
        check_range("Product Item Reference", self.reference, 0, CODE_MAX)
        if self.tmr_id is not None and self.reference:
            raise BadItem(
                "out-of-range",
                f"the licence with the TMR-Id {self.tmr_id} has the Product Item Reference {self.reference}",
                "leave the reference out: the TMR-Id tells such licences apart",
            )

    # written out, because None and a number do not compare
    def __lt__(self, other: "LicenceKey") -> bool:
        return self._rank() < other._rank()

    def __le__(self, other: "LicenceKey") -> bool:
        return self._rank() <= other._rank()

    def __gt__(self, other: "LicenceKey") -> bool:
        return self._rank() > other._rank()

    def __ge__(self, other: "LicenceKey") -> bool:
        return self._rank() >= other._rank()

    def _rank(self) -> tuple[int, int, int, int]:
        return self.firm_code, self.product_code, self.tmr_id or 0, self.reference

    def __str__(self) -> str:
        plain = f"{self.firm_code}:{self.product_code}"
        if self.tmr_id is not None:
            return f"{plain} TMR-Id {self.tmr_id}"
        return f"{plain} reference {self.reference}" if self.reference else plain


class ProductItem(ItemOptions, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """One licence with its options. Raises `BadItem`.

    Two constituents are identical only if they are in every option.
    """

    firm_code: int
    product_code: int
    tmr_id: int | None

    def __post_init__(self) -> None:
        key = self.key
        for field, option in _CHECKED:
            check_option(option, getattr(self, field), key)
        self._check_together()

    def _check_together(self) -> None:
        """Options that contradict one another."""
        for first, last, what in (
            (self.activation_ms, self.expiration_ms, "Activation Time is not before its Expiration Time"),
            (self.maintenance_start_ms, self.maintenance_end_ms, "Maintenance Period ends before it starts"),
        ):
            if first is not None and last is not None and first >= last:
                raise BadItem("out-of-range", f"{self.key}: its {what}", "correct one of the two")
        if self.emergency and self.usage_s is None:
            raise BadItem(
                "out-of-range",
                f"{self.key} is an emergency licence without a Usage Period",
                "say how long it may be used from its first use on",
            )
        if self.emergency and self.borrow_s is not None:
            raise BadItem(
                "out-of-range",
                f"{self.key} is an emergency licence that can be borrowed",
                "make an ordinary licence of it, or leave the borrowing out",
            )
        if self.borrow_seats is not None and self.borrow_s is None:
            raise BadItem(
                "out-of-range",
                f"{self.key} has seats to borrow, but no longest borrowing",
                "say for how long it may be borrowed",
            )
        if self.linger_s is not None and self.quantity is None:
            raise BadItem(
                "out-of-range",
                f"{self.key} has a Linger Time, but its seats are not counted",
                "give it a License Quantity, or leave the Linger Time out",
            )
        seats, borrowed = self.quantity, self.borrow_seats
        if seats is not None and borrowed is not None and borrowed > seats:
            raise BadItem(
                "out-of-range",
                f"{self.key} has {borrowed} seats to borrow, but a License Quantity of {seats}",
                "let at most all of its seats be borrowed",
            )

    @functools.cached_property  # asked for a dozen times for each access
    def key(self) -> LicenceKey:
        """Key of this licence."""
        return LicenceKey(self.firm_code, self.product_code, self.tmr_id, self.reference)


def packed(value: object) -> bytes:
    """MessagePack of items, or of what holds items, that stays the same when `ProductItem` gets more options.

    msgspec writes the map of a Struct with more than 15 fields with a long header, however few are set.
    """
    return msgspec.msgpack.encode(msgspec.to_builtins(value, builtin_types=(bytes,)))


def ordered(items: Iterable[ProductItem]) -> tuple[ProductItem, ...]:
    """The items sorted by key. Raises `BadItem` if a key occurs twice or there are more than `ITEMS_MAX`."""
    result = tuple(sorted(items, key=lambda item: item.key))
    if len(result) > ITEMS_MAX:
        raise BadItem(
            "out-of-range",
            f"{len(result)} Product Items in one container, which holds at most {ITEMS_MAX}",
            "use fewer Product Items with a larger License Quantity",
        )
    for former, latter in pairwise(result):
        if former.key == latter.key:
            raise BadItem(
                "out-of-range", f"the Product Item {latter.key} occurs twice", "keep one of the two"
            )
    return result


def check_room(items: tuple[ProductItem, ...]) -> None:
    """Raise `BadItem` if a container cannot hold so many bytes."""
    size = len(packed(items))
    if size > ITEMS_BYTES:
        raise BadItem(
            "out-of-range",
            f"the Product Items of one container take {size} bytes, and it holds at most {ITEMS_BYTES}",
            "use fewer Product Items with a larger License Quantity, or shorter names and texts",
        )


def check_kind(items: Iterable[ProductItem], deployment: Deployment) -> None:
    """Raise `BadItem` unless all items are of the deployment: plain ones, or each with a TMR-Id of its own.

    A vendor numbers TMR-Ids consecutively, so one TMR-Id is never on two products of a firm.
    """
    products: dict[tuple[int, int], int] = {}
    for item in items:
        if deployment.tmr_ids == (item.tmr_id is None):
            has = "has no" if deployment.tmr_ids else "has a"
            raise BadItem(
                "out-of-range",
                f"the Product Item {item.key} {has} TMR-Id, but is for {deployment.containers}",
                "issue TMR licences to three containers, and plain ones to a network licence server",
            )
        if item.tmr_id is None:
            continue
        product = products.setdefault((item.firm_code, item.tmr_id), item.product_code)
        if product != item.product_code:
            raise BadItem(
                "out-of-range",
                f"the TMR-Id {item.tmr_id} is on two products, {product} and {item.product_code}",
                "give each licence a TMR-Id of its own",
            )
