# SPDX-License-Identifier: Apache-2.0
"""Texts for numbers, times, periods and Feature Maps: parsers, and formatters for people.

A parser raises `ValueError` with what to write instead. A formatter never raises.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

YEAR_MAX: Final = 9998
TIME_MS_MAX: Final = 253_402_300_799_999
"""Last millisecond of the year 9999, Unix time."""
SECONDS_MAX: Final = 100 * 366 * 86_400
"""A hundred years."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PERIODS: Final = {"w": 7 * 86_400, "d": 86_400, "h": 3_600, "min": 60, "s": 1}


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


def written_time(time: datetime | int) -> str:
    """A time (aware, or Unix milliseconds) as `2026-03-01 12:00:00 UTC`.

    Years before 1 and after 9999 do not exist as a date: their milliseconds are written instead.
    """
    if isinstance(time, int):
        try:
            time = datetime.fromtimestamp(time // 1000, UTC)
        except (ValueError, OverflowError, OSError):
            return f"{time} ms"
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def instant(ms: int) -> datetime:
    """Unix milliseconds as a time in UTC. Times before 1970 and after 9999 become these bounds."""
    return _EPOCH + timedelta(milliseconds=min(max(0, ms), TIME_MS_MAX))


def instant_or_none(ms: int | None) -> datetime | None:
    """As `instant`; None stays None."""
    return None if ms is None else instant(ms)


def milliseconds(time: datetime | None) -> int | None:
    """A time with its offset as Unix milliseconds, within the bounds of `instant`; None stays None."""
    return None if time is None else min(max(0, round(time.timestamp() * 1000)), TIME_MS_MAX)


def iso_time(ms: int, *, timespec: str = "seconds") -> str:
    """Unix milliseconds as RFC 3339, UTC, within the bounds of `instant`."""
    return instant(ms).isoformat(timespec=timespec)


def exact_period(seconds: int) -> str:
    """Seconds as `period` reads them, in the largest unit that divides them."""
    unit, size = next((unit, size) for unit, size in _PERIODS.items() if seconds % size == 0)
    return f"{seconds // size}{unit}"


def written_period(seconds: float) -> str:
    """Seconds for people, in the largest unit that fits: `14 d`, `90 min`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"


def counted(number: int, noun: str) -> str:
    """A number of things for people: `1 seat`, `2 seats`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def written_bits(feature_map: int, separator: str = ",") -> str:
    """A Feature Map as its bits, `0,3,5`."""
    return separator.join(str(bit) for bit in range(feature_map.bit_length()) if feature_map >> bit & 1)
