"""Parsers for Product Item Options: on the command line, and in a file of items.

One table, `OPTIONS`, makes both. A parser takes the text and gives the fields of `ProductItem` that it sets;
it raises `ValueError` with what to write instead.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from tmr.cli.spelling import features, moment, period, whole
from tmr.licensing.items import CODE_MAX, QUANTITY_MAX, UNITS_MAX, USER_DATA_MAX

Fields = dict[str, Any]
NONE: Final = "none"
"""Written for an option that is not, or no longer, set."""
_F = TypeVar("_F", bound=Callable[..., object])


class Option(msgspec.Struct, frozen=True):
    """One Product Item Option. `name`: as on the command line, without the two hyphens."""

    name: str
    parse: Callable[[str], Fields]
    metavar: str
    help: str
    flag: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def parameter(self) -> str:
        """Its name in Python."""
        return self.name.replace("-", "_")


def _quantity(text: str) -> Fields:
    if text == "unlimited":
        return {"quantity": None}
    try:
        return {"quantity": whole(text, 1, QUANTITY_MAX)}
    except ValueError as error:
        raise ValueError(f"{error}, or the word unlimited") from None


def _expires(text: str) -> Fields:
    if text in (NONE, "never"):
        return {"expiration_ms": None}
    end = moment(text, end=True)
    if end <= datetime.now(UTC).timestamp() * 1000:
        raise ValueError("this is past: the licence would be expired from the start")
    return {"expiration_ms": end}


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


def _features(text: str) -> Fields:
    return {"feature_map": 0 if text == NONE else features(text)}


def _user_data(text: str) -> Fields:
    if text in (NONE, ""):
        return {"user_data": b""}
    if text.startswith("@"):
        try:
            with Path(text[1:]).open("rb") as file:
                data = file.read(USER_DATA_MAX + 1)
        except OSError as error:
            raise ValueError(f"{text[1:]} cannot be read: {error.strerror}") from None
    else:
        if not re.fullmatch(r"(?:[0-9a-fA-F]{2}){1,1000}", text, re.ASCII):
            raise ValueError("write bytes in hexadecimal, such as 00ff, or @FILE for what a file holds")
        data = bytes.fromhex(text)
    if len(data) > USER_DATA_MAX:
        raise ValueError(f"give at most {USER_DATA_MAX} bytes")
    return {"user_data": data}


def _emergency(text: str) -> Fields:
    if text not in ("true", "false"):
        raise ValueError("write true or false")
    return {"emergency": text == "true"}


def _borrow(text: str) -> Fields:
    return {"borrow_s": None, "borrow_seats": None} if text == NONE else {"borrow_s": period(text)}


def _or_none(field: str, parse: Callable[[str], Any]) -> Callable[[str], Fields]:
    return lambda text: {field: None if text == NONE else parse(text)}


def _as_is(field: str) -> Callable[[str], Fields]:
    return lambda text: {field: text}


OPTIONS: Final = (
    Option("quantity", _quantity, "N|unlimited", "License Quantity: seats."),
    Option("name", _as_is("name"), "TEXT", "Name of the licence, for people."),
    Option(
        "units",
        lambda text: {"units": whole(text, 1, UNITS_MAX)},
        "N",
        "Unit Counter: units issued in all since the first issue.",
    ),
    Option(
        "activation",
        _or_none("activation_ms", lambda text: moment(text, end=False)),
        "YYYY-MM-DD",
        "Activation Time: first day on which it is valid, or a time, UTC.",
    ),
    Option(
        "expires",
        _expires,
        "YYYY-MM-DD",
        "Expiration Time: last day on which it is valid, or a time, UTC; never expires if left out.",
        aliases=("expiration",),
    ),
    Option(
        "usage-period",
        _or_none("usage_s", period),
        "PERIOD",
        "Usage Period from the first use on, such as 30d or 12h.",
    ),
    Option(
        "maintenance",
        _maintenance,
        "START..END",
        "Maintenance Period: first and last release day of the versions that may use it.",
    ),
    Option(
        "emergency",
        _emergency,
        "",
        "Used only when no ordinary licence of the product is free; needs a Usage Period.",
        flag=True,
    ),
    Option("borrow", _borrow, "PERIOD", "Longest borrowing, such as 14d; without it nobody can borrow."),
    Option(
        "borrow-seats",
        _or_none("borrow_seats", lambda text: whole(text, 1, QUANTITY_MAX)),
        "N",
        "Seats that may be borrowed at a time; all if left out.",
    ),
    Option("features", _features, "BITS", "Feature Map: bits from 0 to 31 such as 0,3,5, or 0x29."),
    Option("text", _as_is("text"), "TEXT", "Text, for display."),
    Option("customer", _as_is("customer"), "TEXT", "Customer Owned License Information."),
    Option("user-data", _user_data, "HEX|@FILE", f"User Data: at most {USER_DATA_MAX} bytes."),
)
"""All that can be changed; what names a licence is `PRODUCT` and `REFERENCE`."""
PRODUCT: Final = Option(
    "product", lambda text: {"product_code": whole(text, 0, CODE_MAX)}, "CODE", "Product Code."
)
REFERENCE: Final = Option(
    "reference",
    lambda text: {"reference": whole(text, 0, CODE_MAX)},
    "N",
    "Product Item Reference: tells apart plain licences of one product; 0 if left out.",
)
OF_AN_ITEM: Final = (PRODUCT, REFERENCE, *OPTIONS)


def with_options(*options: Option) -> Callable[[_F], _F]:
    """Give a command these options. Each arrives as the fields it sets, or None where it is not given."""

    def decorate(command: _F) -> _F:
        for option in reversed(options):
            names = [f"--{name}" for name in (option.name, *option.aliases)]
            if option.flag:
                names = [f"--{option.name}/--no-{option.name}"]
            command = click.option(
                *names,
                option.parameter,
                callback=_callback(option),
                metavar=None if option.flag else option.metavar,
                help=option.help,
                default=None,
            )(command)
        return command

    return decorate


def _callback(option: Option) -> Callable[[click.Context, click.Parameter, Any], Fields | None]:
    def call(_: click.Context, __: click.Parameter, value: Any) -> Fields | None:
        if value is None:
            return None
        try:
            return option.parse(str(value).lower() if option.flag else value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return call


def gathered(given: Mapping[str, Fields | None]) -> Fields:
    """The fields that the options given set."""
    return {field: value for fields in given.values() if fields for field, value in fields.items()}
