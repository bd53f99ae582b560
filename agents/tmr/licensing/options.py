# SPDX-License-Identifier: Apache-2.0
"""Table of Product Item Options: each field of `ItemOptions` is one option, described by an `Option`.

Everything else follows from the table: the check of a Product Item, the orders of a vendor, the options of
`tmr vendor` and of a file of items, the page that shows an item, the answer of the client API, the licence in
a borrow file. What an option forbids is a rule of the ledger (`tmr.ledger.validity`).

The options and their meaning follow what Wibu-Systems publishes of CodeMeter's Product Item Options: white
paper "Software Protection and Licensing", table 1 (which option is for what, and who may write it) and
chapter "License Models"; CodeMeter Administrator Guide, log entries ("the Expiration Time contains the
minimum of the Product Item Option Expiration Time and the value of an activated Usage Period"). Left out:
Module Items, License Transfer, and Protected, Hidden and Secret Data (reasons:
docs/reference/product-item-options.md).
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, get_args, get_type_hints

import msgspec

from tmr.licensing import option_texts as texts
from tmr.licensing.spelling import (
    SECONDS_MAX,
    TIME_MS_MAX,
    features,
    moment,
    period,
    whole,
)

CODE_MAX: Final = 2**32 - 1
"""Firm Codes, Product Codes and TMR-Ids have 32 bits."""
QUANTITY_MAX: Final = 2**31 - 1
EXPIRATION_MS_MAX: Final = TIME_MS_MAX
"""The last millisecond of the year 9999."""
NAME_MAX: Final = 256
"""Characters in the name of a Product Item, in its Text and in its Customer Owned License Information."""
USER_DATA_MAX: Final = 255
"""Bytes of User Data (as a CmContainer's User Data field has)."""
UNITS_MAX: Final = 2**53 - 1
"""Units issued in all: every JSON reader keeps the number exact."""
NONE: Final = "none"
"""Written for an option that is not, or no longer, set."""

Fields = dict[str, Any]


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One Product Item Option.

    `title`: CodeMeter's public name. `label`: the name in error messages, unless it is the title. `range`:
    least and greatest value of a number; `longest`: characters of a text, bytes of data.

    `name`: on the command line and in a file of items, without the two hyphens; empty: another option writes
    this field. `parse`: text to fields of the item; it raises `ValueError` with what to write instead.
    `show`: text of an item's value for people; empty: it is not set. `member`: of an item in the client API,
    unless it is named as the field.
    """

    title: str
    label: str = ""
    range: tuple[int, int] | None = None
    longest: int | None = None
    name: str = ""
    parse: Callable[[str], Fields] = lambda _: {}
    metavar: str = ""
    help: str = ""
    flag: bool = False
    aliases: tuple[str, ...] = ()
    show: Callable[["ItemOptions"], str] = lambda _: ""
    member: str = ""
    fixed: bool = False
    """It names the licence, and so never changes."""
    future: bool = False
    """A time that a vendor writes is not past."""
    file: bool = False
    """`@FILE` stands for what a file holds, in hexadecimal digits."""

    @property
    def parameter(self) -> str:
        """Its name in Python."""
        return self.name.replace("-", "_")


def _or_none(field: str, parse: Callable[[str], Any]) -> Callable[[str], Fields]:
    return lambda text: {field: None if text == NONE else parse(text)}


def _text(field: str, title: str, help_: str, show: Callable[["ItemOptions"], str] = lambda _: "") -> Option:
    return Option(
        title=title,
        longest=NAME_MAX,
        name=field,
        parse=lambda text: {field: text},
        metavar="TEXT",
        help=help_,
        show=show,
    )


def _quantity(text: str) -> Fields:
    if text == "unlimited":
        return {"quantity": None}
    try:
        return {"quantity": whole(text, 1, QUANTITY_MAX)}
    except ValueError as error:
        raise ValueError(f"{error}, or the word unlimited") from None


def _maintenance(text: str) -> Fields:
    if text == NONE:
        return {"maintenance_start_ms": None, "maintenance_end_ms": None}
    first, dots, last = text.partition("..")
    if not dots or not (first or last):
        raise ValueError("write START..END, such as 2026-01-01..2026-12-31; one of the two may be left out")
    return {
        "maintenance_start_ms": moment(first, end=False) if first else None,
        "maintenance_end_ms": moment(last, end=True) if last else None,
    }


def _flag(field: str) -> Callable[[str], Fields]:
    def parse(text: str) -> Fields:
        if text not in ("true", "false"):
            raise ValueError("write true or false")
        return {field: text == "true"}

    return parse


def _borrow(text: str) -> Fields:
    return {"borrow_s": None, "borrow_seats": None} if text == NONE else {"borrow_s": period(text)}


def _user_data(text: str) -> Fields:
    if text in (NONE, ""):
        return {"user_data": b""}
    if not re.fullmatch(r"(?:[0-9a-fA-F]{2}){1,1000}", text, re.ASCII):
        raise ValueError("write bytes in hexadecimal, such as 00ff, or @FILE for what a file holds")
    data = bytes.fromhex(text)
    if len(data) > USER_DATA_MAX:
        raise ValueError(f"give at most {USER_DATA_MAX} bytes")
    return {"user_data": data}


_TIME: Final = (1, EXPIRATION_MS_MAX)


class ItemOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a licence, in the order of the licence files.

    Times are Unix milliseconds UTC, periods are seconds; `None` is an option that is not set.
    """

    quantity: Annotated[
        int | None,
        Option(
            title="License Quantity",
            range=(1, QUANTITY_MAX),
            name="quantity",
            parse=_quantity,
            metavar="N|unlimited",
            help="License Quantity: seats.",
        ),
    ]
    """Seats; `None` for unlimited. CodeMeter's 0, a licence for local use only, is refused: here every
    licence is used through the network."""
    expiration_ms: Annotated[
        int | None,
        Option(
            title="Expiration Time",
            label="Expiration Time (ms)",
            range=_TIME,
            name="expires",
            aliases=("expiration",),
            parse=lambda text: {"expiration_ms": None if text in (NONE, "never") else moment(text, end=True)},
            metavar="YYYY-MM-DD",
            help="Expiration Time: last day on which it is valid, or a time, UTC; never expires if left out.",
            future=True,
            member="expiration",
        ),
    ]
    """From then on it is not valid. The earlier of it and the Usage Period's end counts."""
    name: Annotated[
        str,
        _text("name", "name", "Name of the licence, for people."),
    ] = ""
    """For people."""
    reference: Annotated[
        int,
        Option(
            title="Product Item Reference",
            range=(0, CODE_MAX),
            name="reference",
            parse=lambda text: {"reference": whole(text, 0, CODE_MAX)},
            metavar="N",
            help="Product Item Reference: tells apart plain licences of one product; 0 if left out.",
            fixed=True,
        ),
    ] = 0
    """Tells apart the plain licences of one product, see `LicenceKey`."""
    units: Annotated[
        int | None,
        Option(
            title="Unit Counter",
            range=(1, UNITS_MAX),
            name="units",
            parse=lambda text: {"units": whole(text, 1, UNITS_MAX)},
            metavar="N",
            help="Unit Counter: units issued in all since the first issue.",
            show=lambda item: "" if item.units is None else f"{item.units} units issued in all",
        ),
    ] = None
    """Units issued in all since the first issue. What remains is this less what was taken; only the vendor
    increases it (white paper, table 1), and nothing lowers it."""
    activation_ms: Annotated[
        int | None,
        Option(
            title="Activation Time",
            label="Activation Time (ms)",
            range=_TIME,
            name="activation",
            parse=_or_none("activation_ms", lambda text: moment(text, end=False)),
            metavar="YYYY-MM-DD",
            help="Activation Time: first day on which it is valid, or a time, UTC.",
            show=texts.show_activation,
            member="activation",
        ),
    ] = None
    """Before it is not valid."""
    usage_s: Annotated[
        int | None,
        Option(
            title="Usage Period",
            label="Usage Period (s)",
            range=(1, SECONDS_MAX),
            name="usage-period",
            parse=_or_none("usage_s", period),
            metavar="PERIOD",
            help="Usage Period from the first use on, such as 30d or 12h.",
            show=texts.show_usage,
            member="usage_seconds",
        ),
    ] = None
    """Valid for so long from the first use on (white paper: demos, cold standby)."""
    maintenance_start_ms: Annotated[
        int | None,
        Option(
            title="Maintenance Period",
            label="start of the Maintenance Period (ms)",
            range=_TIME,
            name="maintenance",
            parse=_maintenance,
            metavar="START..END",
            help="Maintenance Period: first and last release day of the versions that may use it.",
            show=texts.show_maintenance,
            member="maintenance_start",
        ),
    ] = None
    maintenance_end_ms: Annotated[
        int | None,
        Option(
            title="Maintenance Period",
            label="end of the Maintenance Period (ms)",
            range=_TIME,
            member="maintenance_end",
        ),
    ] = None
    """Versions released from the start up to the end may use it."""
    emergency: Annotated[
        bool,
        Option(
            title="Emergency",
            label="emergency",
            name="emergency",
            flag=True,
            parse=_flag("emergency"),
            help="Used only when no ordinary licence of the product is free; needs a Usage Period.",
            show=texts.show_emergency,
        ),
    ] = False
    """Used only where no ordinary licence of the product is free or valid; has a Usage Period."""
    borrow_s: Annotated[
        int | None,
        Option(
            title="Borrowing",
            label="longest borrowing (s)",
            range=(1, SECONDS_MAX),
            name="borrow",
            parse=_borrow,
            metavar="PERIOD",
            help="Longest borrowing, such as 14d; without it nobody can borrow.",
            show=texts.show_borrow,
            member="borrow_seconds",
        ),
    ] = None
    """Longest borrowing; `None`: it cannot be borrowed."""
    borrow_seats: Annotated[
        int | None,
        Option(
            title="Borrowing",
            label="seats to borrow",
            range=(1, QUANTITY_MAX),
            name="borrow-seats",
            parse=_or_none("borrow_seats", lambda text: whole(text, 1, QUANTITY_MAX)),
            metavar="N",
            help="Seats that may be borrowed at a time; all if left out.",
        ),
    ] = None
    """Seats that may be borrowed at a time; `None`: all."""
    feature_map: Annotated[
        int,
        Option(
            title="Feature Map",
            range=(0, 2**32 - 1),
            name="features",
            parse=lambda text: {"feature_map": 0 if text == NONE else features(text)},
            metavar="BITS",
            help="Feature Map: bits from 0 to 31 such as 0,3,5, or 0x29.",
            show=texts.show_features,
        ),
    ] = 0
    """32 bits, one for each module or version of the product; bit 0 is the lowest."""
    text: Annotated[
        str,
        _text("text", "Text", "Text, for display.", lambda item: item.text),
    ] = ""
    """For display. Users cannot change Text and User Data as CodeMeter's can: three containers must agree."""
    customer: Annotated[
        str,
        _text(
            "customer",
            "Customer Owned License Information",
            "Customer Owned License Information.",
            lambda item: item.customer,
        ),
    ] = ""
    """Such as the name of the licensee."""
    user_data: Annotated[
        bytes,
        Option(
            title="User Data",
            longest=USER_DATA_MAX,
            name="user-data",
            parse=_user_data,
            metavar="HEX|@FILE",
            help=f"User Data: at most {USER_DATA_MAX} bytes.",
            show=texts.show_user_data,
            file=True,
        ),
    ] = b""
    """For the application, such as its configuration."""
    linger_s: Annotated[
        int | None,
        Option(
            title="Linger Time",
            label="Linger Time (s)",
            range=(1, SECONDS_MAX),
            name="linger",
            parse=_or_none("linger_s", period),
            metavar="PERIOD",
            help="Linger Time: a seat stays its holder's for so long after its session, such as 10min.",
            show=texts.show_linger,
            member="linger_seconds",
        ),
    ] = None
    """After a session its seat stays taken for so long; meanwhile only its holder can have it again."""
    named_user: Annotated[
        bool,
        Option(
            title="Named User",
            label="named user",
            name="named-user",
            flag=True,
            parse=_flag("named_user"),
            help="Named User: a seat is a person's, who uses it anywhere, and as often as needed.",
            show=lambda item: "a seat is a person's" if item.named_user else "",
        ),
    ] = False
    """A seat belongs to a user: all sessions of that user take one."""


def options_of(items: type[ItemOptions]) -> dict[str, Option]:
    """The table, by field: every field of the class that an `Option` describes."""
    hints = get_type_hints(items, include_extras=True)
    found = {}
    for field in items.__struct_fields__:
        for mark in get_args(hints[field])[1:]:
            if isinstance(mark, Option):
                found[field] = mark
    return found


OPTIONS: Final = options_of(ItemOptions)
"""Every Product Item Option, by the field of an item that holds it."""
