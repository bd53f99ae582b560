"""Product Items, the licences of a container, and the key that tells one from another."""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import msgspec

from tmr.licensing.errors import BadItem

FIRM_CODE_MIN: Final = 6_000_000
"""Universal Firm Codes start here."""
CODE_MAX: Final = 2**32 - 1
"""Firm Codes, Product Codes and TMR-Ids have 32 bits."""
QUANTITY_MAX: Final = 2**31 - 1
EXPIRATION_MS_MAX: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""
NAME_MAX: Final = 256
"""Characters in the name of a Product Item."""
ITEMS_MAX: Final = 1_000
"""Product Items in one container."""

# Controls, line separators, writing-direction marks and surrogates, listed one by one: str.isprintable
# follows Python's Unicode version, and upstreams with different versions must never disagree.
_UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


class LicenceKey(msgspec.Struct, frozen=True):
    """What names a licence: Firm Code, Product Code and TMR-Id (`None`: a plain licence, outside any TMR).

    Hashable and ordered; within a product the plain licence comes first. Raises `BadItem`.
    """

    firm_code: int
    product_code: int
    tmr_id: int | None

    def __post_init__(self) -> None:
        check_range("Firm Code", self.firm_code, FIRM_CODE_MIN, CODE_MAX)
        check_range("Product Code", self.product_code, 0, CODE_MAX)
        if self.tmr_id is not None:
            check_range("TMR-Id", self.tmr_id, 1, CODE_MAX)

    # written out, because None and a number do not compare
    def __lt__(self, other: "LicenceKey") -> bool:
        return self._rank() < other._rank()

    def __le__(self, other: "LicenceKey") -> bool:
        return self._rank() <= other._rank()

    def __gt__(self, other: "LicenceKey") -> bool:
        return self._rank() > other._rank()

    def __ge__(self, other: "LicenceKey") -> bool:
        return self._rank() >= other._rank()

    def _rank(self) -> tuple[int, int, int]:
        return self.firm_code, self.product_code, self.tmr_id or 0

    def __str__(self) -> str:
        plain = f"{self.firm_code}:{self.product_code}"
        return plain if self.tmr_id is None else f"{plain} TMR-Id {self.tmr_id}"


class ProductItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One licence with its options.

    `quantity`: seats, `None` for unlimited. `expiration_ms`: Unix time in milliseconds UTC from which it is
    no longer valid, `None` for never. `name`: for people. Raises `BadItem`.
    """

    firm_code: int
    product_code: int
    tmr_id: int | None
    quantity: int | None
    expiration_ms: int | None
    name: str = ""

    def __post_init__(self) -> None:
        _ = self.key
        if self.quantity is not None:
            check_range("License Quantity", self.quantity, 1, QUANTITY_MAX)
        if self.expiration_ms is not None:
            check_range("Expiration Time (ms)", self.expiration_ms, 1, EXPIRATION_MS_MAX)
        if type(self.name) is not str or len(self.name) > NAME_MAX:
            raise BadItem(
                "out-of-range",
                f"the name of {self.key} is longer than {NAME_MAX} characters",
                "shorten the name",
            )
        if _UNFIT.search(self.name):
            raise BadItem(
                "out-of-range",
                f"the name of {self.key} holds a control character",
                "use letters, digits, spaces and punctuation",
            )

    @property
    def key(self) -> LicenceKey:
        """What names this licence."""
        return LicenceKey(self.firm_code, self.product_code, self.tmr_id)


def check_range(what: str, value: int, low: int, high: int) -> None:
    """Raise `BadItem` unless `value` is an integer from `low` to `high`."""
    if type(value) is not int or not low <= value <= high:
        # str() of an integer with thousands of digits raises, so only the others are shown
        shown = value if type(value) is int and abs(value) < 2**64 else "what was given"
        raise BadItem(
            "out-of-range",
            f"{what}: {shown} is outside {low} to {high}",
            f"give a whole number from {low} to {high}",
        )


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
