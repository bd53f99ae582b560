# SPDX-License-Identifier: Apache-2.0
"""One line for each event, whatever stands in it."""

import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tmr.runtime import logs
from tmr.runtime.logs import KeyValueFormatter, fields, is_journal, quoted
from tmr.vip.log_fields import fields as vip_fields


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


@pytest.mark.parametrize("values", [{}, {"epoch": 7, "reason": "two words"}])
def test_the_virtual_address_is_logged_as_all_else(values: dict[str, object]) -> None:
    assert vip_fields(**values) == fields(**values)


def test_the_journal_is_told_by_the_stream_itself(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream, (tmp_path / "other").open("w") as other:
        found = os.fstat(stream.fileno())
        environment = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert is_journal(stream, environment)
        assert not is_journal(other, environment), "the variable may be inherited"
        assert not is_journal(stream, {})
    assert not is_journal(stream, environment)


def test_the_reason_of_an_end_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.complain("tmr-server", "no such file")
    assert capsys.readouterr().err == "tmr-server: no such file\n"


@pytest.mark.parametrize(
    ("module", "command"),
    [("vip", "tmr-vip"), ("upstream", "tmr-upstream"), ("twin_server", "tmr-server")],
)
def test_each_daemon_writes_one_dialect_with_a_priority(module: str, command: str, tmp_path: Path) -> None:
    """With its streams where systemd has them: standard output and error are one, and the journal's."""
    journal = tmp_path / "journal"
    with journal.open("w") as stream:
        found = os.fstat(stream.fileno())
        done = subprocess.run(
            [sys.executable, "-m", f"tmr.daemons.{module}", "--config", "/nonexistent"],
            env={**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"},
            stdout=stream,
            stderr=stream,
            timeout=90,
            check=False,
        )
    assert done.returncode == 2
    lines = journal.read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"<3>level=error logger={command} event=stopped reason=")
