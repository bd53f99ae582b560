"""Parsers for numbers, times, periods and Feature Maps on the command line.

A parser raises `ValueError` with what to write instead.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from tmr.api.fields import IDEMPOTENCY_KEY

YEAR_MAX: Final = 9998
SECONDS_MAX: Final = 100 * 366 * 86_400
"""A hundred years."""
_PERIODS: Final = {"s": 1, "min": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}


def whole(text: str, low: int, high: int) -> int:
    """The whole number from `low` to `high` that the text spells."""
    if re.fullmatch(r"[0-9]{1,20}", text, re.ASCII) and low <= int(text) <= high:
        return int(text)
    raise ValueError(f"give a whole number from {low} to {high}")


def moment(text: str, *, end: bool) -> int:
    """Unix milliseconds of a time `YYYY-MM-DDThh:mm`, or of a day: its start, with `end` its end. UTC."""
    shape = re.fullmatch(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|\+00:00)?)?", text, re.ASCII
    )
    try:
        found = datetime.fromisoformat(text) if shape else None
    except ValueError:
        found = None
    if found is None:
        raise ValueError("write the day as YYYY-MM-DD, or a time in UTC as YYYY-MM-DDThh:mm")
    if not 1971 <= found.year <= YEAR_MAX:
        raise ValueError(f"give a year from 1971 to {YEAR_MAX}; leave the option out for no limit")
    if shape is not None and shape[1] is None and end:
        found += timedelta(days=1)
    return int(found.replace(tzinfo=UTC).timestamp()) * 1000


def period(text: str) -> int:
    """Seconds of a period such as `30d`, `12h`, `90min`, `2w`, `45s`."""
    shape = re.fullmatch(r"([0-9]{1,12})(s|min|h|d|w)", text, re.ASCII)
    seconds = int(shape[1]) * _PERIODS[shape[2]] if shape else 0
    if not 1 <= seconds <= SECONDS_MAX:
        raise ValueError("write a number and s, min, h, d or w, such as 30d or 12h; at most a hundred years")
    return seconds


def features(text: str) -> int:
    """The Feature Map of bits such as `0,3,5`, or written as a whole, `0x29`."""
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", text, re.ASCII):
        return int(text, 16)
    bits = 0
    for part in text.split(","):
        if not re.fullmatch(r"[0-9]{1,2}", part.strip(), re.ASCII) or int(part) > 31:
            raise ValueError("write bits from 0 to 31 with commas, such as 0,3,5, or all as 0x29")
        bits |= 1 << int(part)
    return bits


def written_period(seconds: float) -> str:
    """Seconds for people, in the largest unit that fits: `14 d`, `90 min`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"


def bits_of(feature_map: int) -> str:
    """A Feature Map as its bits, `0,3,5`."""
    return ",".join(str(bit) for bit in range(32) if feature_map >> bit & 1)


def key(text: str) -> str:
    """An idempotency key."""
    if not re.fullmatch(IDEMPOTENCY_KEY, text):
        raise ValueError("write 8 to 128 of A-Z a-z 0-9 . _ ~ -")
    return text


class ParsedParameter(click.ParamType):  # type: ignore[type-arg]
    """A parameter that one of these parsers reads."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value; a mistake is told with its remedy."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}.", param, ctx)


PERIOD: Final = ParsedParameter("period", period)
KEY: Final = ParsedParameter("key", key)
FEATURES: Final = ParsedParameter("bits", features)
TIME: Final = ParsedParameter(
    "time", lambda text: datetime.fromtimestamp(moment(text, end=False) / 1000, UTC)
)
