# SPDX-License-Identifier: Apache-2.0
"""Numbers, times, periods and Feature Maps: what is written is read again, and mistakes say what to write."""

from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.cli.ids import SHORT, find
from tmr.cli.spelling import FEATURES, PERIOD, TIME, ParsedParameter, key
from tmr.licensing.spelling import (
    SECONDS_MAX,
    exact_period,
    features,
    moment,
    period,
    whole,
    written_bits,
    written_period,
)

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(9998, 12, 30)).map(lambda at: at.replace(microsecond=0))


@given(st.integers(1, 2**32 - 1))
def test_a_feature_map_is_read_as_it_is_shown(feature_map: int) -> None:
    assert features(written_bits(feature_map)) == feature_map
    assert features(f"0x{feature_map:x}") == features(f"0X{feature_map:08X}") == feature_map


@given(st.lists(st.integers(0, 31), min_size=1))
def test_bits_in_any_order_and_twice(bits: list[int]) -> None:
    assert written_bits(features(", ".join(map(str, bits)))) == ",".join(map(str, sorted(set(bits))))


@given(st.sampled_from(sorted(UNITS)), st.integers(1, 5000))
def test_a_period_is_the_number_times_the_unit(unit: str, number: int) -> None:
    assert period(f"{number}{unit}") == number * UNITS[unit]


@given(st.integers(1, SECONDS_MAX))
def test_a_period_is_read_as_the_vendor_is_shown_it(seconds: int) -> None:
    assert period(exact_period(seconds)) == seconds


@given(st.integers(1, SECONDS_MAX))
def test_a_period_for_people_is_close(seconds: int) -> None:
    """It is rounded to a tenth of its unit, of which there is at least one."""
    number, unit = written_period(seconds).split(" ")
    assert abs(float(number) * UNITS[unit] - seconds) <= 0.05 * UNITS[unit] + 0.5
    assert float(number) >= 1


@given(TIMES)
def test_a_time_is_read_as_it_is_written(at: datetime) -> None:
    ms = round(at.replace(tzinfo=UTC).timestamp() * 1000)
    written = at.isoformat()
    for text in (written, f"{written}Z", f"{written}+00:00", written.replace("T", " ")):
        assert moment(text, end=False) == moment(text, end=True) == ms
    assert TIME.convert(written, None, None) == at.replace(tzinfo=UTC)


@given(TIMES)
def test_a_day_has_a_start_and_an_end(at: datetime) -> None:
    day = at.date().isoformat()
    assert moment(day, end=True) - moment(day, end=False) == timedelta(days=1).total_seconds() * 1000
    assert moment(day, end=False) <= moment(at.isoformat(), end=False) < moment(day, end=True)


@given(st.text(max_size=30))
def test_any_other_text_is_refused_with_what_to_write(text: str) -> None:
    for parse in (
        period,
        features,
        key,
        lambda each: moment(each, end=False),
        lambda each: whole(each, 1, 9),
    ):
        try:
            parse(text)
        except ValueError as error:
            assert str(error).startswith(("write", "give"))


@pytest.mark.parametrize("text", ["", "0d", "1", "d", "-1d", "1.5h", "1 h", "1m", "101w1d", "99999w", "٣d"])
def test_what_is_no_period(text: str) -> None:
    with pytest.raises(ValueError, match="write a number and s, min, h, d or w"):
        period(text)


@pytest.mark.parametrize("text", ["", "32", "-1", "1,", "0x", "0x100000000", "a", "1 2"])
def test_what_are_no_features(text: str) -> None:
    with pytest.raises(ValueError, match="write bits from 0 to 31"):
        features(text)


@pytest.mark.parametrize(
    "text", ["", "2026-02-30", "2026-3-1", "2026-03-01T25:00", "2026-03-01T10:00+01:00", "1"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="write the day as YYYY-MM-DD"):
        moment(text, end=False)


@pytest.mark.parametrize(("kind", "text"), [(PERIOD, "3 days"), (FEATURES, "x"), (TIME, "March")])
def test_a_mistake_names_what_was_written(kind: ParsedParameter, text: str) -> None:
    with pytest.raises(click.BadParameter, match=f"'{text}': write"):
        kind.convert(text, None, None)


@given(st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), unique=True), st.integers(1, 32))
def test_an_id_is_found_by_its_end(ids: list[str], digits: int) -> None:
    for each in ids:
        end = each[-digits:]
        alike = [other for other in ids if other.endswith(end)]
        if digits < SHORT:
            assert find(end, ids) is None
        elif len(alike) == 1:
            assert find(end, ids) == each
        else:
            with pytest.raises(click.UsageError):
                find(end, ids)
