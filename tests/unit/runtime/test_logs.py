"""One line for each event, whatever stands in it."""

import logging
import shlex
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tmr.runtime.logs import KeyValueFormatter, fields, quoted


def record(message: str, level: int = logging.WARNING, **values: object) -> logging.LogRecord:
    made = logging.LogRecord("tmr.x", level, "f", 1, message, (), None)
    made.__dict__.update(fields(**values))
    return made


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (7, "7"),
        ("", '""'),
        ("a b", '"a b"'),
        ('say "x"', r'"say \"x\""'),
        ("a\nb", r'"a\nb"'),
    ],
)
def test_values_are_quoted_where_they_must_be(value: object, text: str) -> None:
    assert quoted(value) == text


@example("'")
@given(st.text())
def test_no_value_breaks_the_line(text: str) -> None:
    line = KeyValueFormatter(journal=True).format(record("event", value=text, after=1))
    assert line.isprintable()
    parts = shlex.split(line.removeprefix("<4>"))
    assert parts[:3] == ["level=warning", "logger=tmr.x", "event=event"]
    assert parts[-1] == "after=1"
    assert len(parts) == 5


def test_journal_lines_start_with_their_priority_and_others_with_the_time() -> None:
    assert (
        KeyValueFormatter(journal=True).format(record("x", logging.CRITICAL)).startswith("<2>level=critical")
    )
    assert KeyValueFormatter(journal=False).format(record("x")).startswith("time=20")


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise ValueError("bad\nthing")
    except ValueError:
        made = logging.LogRecord("tmr.x", logging.ERROR, "f", 1, "failed", (), sys.exc_info())
    line = KeyValueFormatter(journal=True).format(made)
    assert "\n" not in line
    assert "ValueError: bad" in line
