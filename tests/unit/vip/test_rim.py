"""Log lines, and messages to systemd."""

import logging
import socket
from pathlib import Path

import pytest

from tmr.vip import keyvalue
from tmr.vip.notify import Notifier


def test_lines_are_one_line_and_quote_what_needs_it() -> None:
    assert keyvalue.line("held", epoch=7, mac="02:00") == "event=held epoch=7 mac=02:00"
    assert keyvalue.line("x", reason='two "words"\nmore') == 'event=x reason="two \\"words\\"\\nmore"'
    assert keyvalue.line("x", detail="") == 'event=x detail=""'


def test_foreign_loggers_are_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        keyvalue.configure()
        logging.getLogger("somebody").warning("hello %s", "there")
        logging.getLogger("tmr.vip").warning(keyvalue.line("ready"))
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert capsys.readouterr().out.splitlines() == [
        'level=warning event=library logger=somebody message="hello there"',
        "level=warning event=ready",
    ]


def test_notifier(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(path))
        notifier = Notifier({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "3000000"})
        assert notifier.watchdog_interval == 1.5
        notifier.send(READY="1", STATUS="well")
        assert supervisor.recv(100) == b"READY=1\nSTATUS=well"
    notifier.send(WATCHDOG="1")  # nobody listens any more
    notifier.close()


def test_without_a_supervisor_nothing_is_sent() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "3000000"})
    assert notifier.watchdog_interval is None
    notifier.send(READY="1")
    notifier.close()
