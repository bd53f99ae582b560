"""Product Items, the licences of a container, and the key that tells one from another.

The options and their meaning follow what Wibu-Systems publishes of CodeMeter's Product Item Options: white
paper "Software Protection and Licensing", table 1 (which option is for what, and who may write it) and
chapter "License Models"; CodeMeter Administrator Guide, log entries ("the Expiration Time contains the
minimum of the Product Item Option Expiration Time and the value of an activated Usage Period"). Left out:
Protected, Hidden and Secret Data, which serve encryption by a CmDongle.
"""

import functools
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
"""Characters in the name of a Product Item, in its Text and in its Customer Owned License Information."""
USER_DATA_MAX: Final = 255
"""Bytes of User Data (as a CmContainer's User Data field has)."""
SECONDS_MAX: Final = 100 * 366 * 86_400
"""Longest Usage Period and longest borrowing: a hundred years."""
UNITS_MAX: Final = 2**53 - 1
"""Units issued in all: every JSON reader keeps the number exact."""
ITEMS_MAX: Final = 5_000
"""Product Items in one container."""
ITEMS_BYTES: Final = 2 * 2**20
"""Bytes of them: the statements of three containers must fit one journal entry."""

# Controls, line separators, writing-direction marks and surrogates, listed one by one: str.isprintable
# follows Python's Unicode version, and upstreams with different versions must never disagree.
_UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


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


class ProductItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """One licence with its options, named as CodeMeter names its Product Item Options. Raises `BadItem`.

    Times are Unix milliseconds UTC, periods are seconds; `None` is an option that is not set. Two
    constituents are identical only if they are in every option.
    """

    firm_code: int
    product_code: int
    tmr_id: int | None
    quantity: int | None
    """License Quantity: seats; `None` for unlimited. CodeMeter's 0, a licence for local use only, is refused:
    here every licence is used through the network."""
    expiration_ms: int | None
    """Expiration Time: from then on it is not valid. The earlier of it and the Usage Period's end counts."""
    name: str = ""
    """For people."""
    reference: int = 0
    """Product Item Reference, see `LicenceKey`."""
    units: int | None = None
    """Unit Counter: units issued in all since the first issue. What remains is this less what was taken; only
    the vendor increases it (white paper, table 1), and nothing lowers it."""
    activation_ms: int | None = None
    """Activation Time: before it is not valid."""
    usage_s: int | None = None
    """Usage Period: valid for so long from the first use on (white paper: demos, cold standby)."""
    maintenance_start_ms: int | None = None
    maintenance_end_ms: int | None = None
    """Maintenance Period: versions released from the start up to the end may use it."""
    emergency: bool = False
    """Used only where no ordinary licence of the product is free or valid; has a Usage Period."""
    borrow_s: int | None = None
    """Longest borrowing; `None`: it cannot be borrowed."""
    borrow_seats: int | None = None
    """Seats that may be borrowed at a time; `None`: all."""
    feature_map: int = 0
    """32 bits, one for each module or version of the product; bit 0 is the lowest."""
    text: str = ""
    """For display. Users cannot change Text and User Data as CodeMeter's can: three containers must agree."""
    customer: str = ""
    """Customer Owned License Information, such as the name of the licensee."""
    user_data: bytes = b""
    """For the application, such as its configuration."""

    def __post_init__(self) -> None:
        _ = self.key
        ranges = (
            ("License Quantity", self.quantity, 1, QUANTITY_MAX),
            ("Expiration Time (ms)", self.expiration_ms, 1, EXPIRATION_MS_MAX),
            ("Unit Counter", self.units, 1, UNITS_MAX),
            ("Activation Time (ms)", self.activation_ms, 1, EXPIRATION_MS_MAX),
            ("Usage Period (s)", self.usage_s, 1, SECONDS_MAX),
            ("start of the Maintenance Period (ms)", self.maintenance_start_ms, 1, EXPIRATION_MS_MAX),
            ("end of the Maintenance Period (ms)", self.maintenance_end_ms, 1, EXPIRATION_MS_MAX),
            ("longest borrowing (s)", self.borrow_s, 1, SECONDS_MAX),
            ("seats to borrow", self.borrow_seats, 1, QUANTITY_MAX),
            ("Feature Map", self.feature_map, 0, 2**32 - 1),
        )
        for what, value, low, high in ranges:
            if value is not None:
                check_range(f"{what} of {self.key}", value, low, high)
        for what, text in (
            ("name", self.name),
            ("Text", self.text),
            ("Customer Owned License Information", self.customer),
        ):
            self._check_text(what, text)
        if type(self.user_data) is not bytes or len(self.user_data) > USER_DATA_MAX:
            raise BadItem(
                "out-of-range",
                f"the User Data of {self.key} is not at most {USER_DATA_MAX} bytes",
                "store a reference to the data instead",
            )
        if type(self.emergency) is not bool:
            raise BadItem(
                "out-of-range", f"the emergency of {self.key} is no yes or no", "give true or false"
            )
        self._check_together()

    def _check_text(self, what: str, text: str) -> None:
        if type(text) is not str or len(text) > NAME_MAX:
            raise BadItem(
                "out-of-range",
                f"the {what} of {self.key} is longer than {NAME_MAX} characters",
                "shorten it",
            )
        if _UNFIT.search(text):
            raise BadItem(
                "out-of-range",
                f"the {what} of {self.key} holds a control character",
                "use letters, digits, spaces and punctuation",
            )

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


def check_room(items: tuple[ProductItem, ...]) -> None:
    """Raise `BadItem` if a container cannot hold so many bytes."""
    size = len(packed(items))
    if size > ITEMS_BYTES:
        raise BadItem(
            "out-of-range",
            f"the Product Items of one container take {size} bytes, and it holds at most {ITEMS_BYTES}",
            "use fewer Product Items with a larger License Quantity, or shorter names and texts",
        )


def check_kind(items: Iterable[ProductItem], *, network: bool) -> None:
    """Raise `BadItem` unless all items are plain ones (`network`), or all have a TMR-Id of their own.

    A vendor numbers TMR-Ids consecutively, so one TMR-Id is never on two products of a firm.
    """
    products: dict[tuple[int, int], int] = {}
    for item in items:
        if network != (item.tmr_id is None):
            where = "one container of a network licence server" if network else "the three of a TMR system"
            raise BadItem(
                "out-of-range",
                f"the Product Item {item.key} {'has a' if network else 'has no'} TMR-Id, but is for {where}",
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
