# SPDX-License-Identifier: Apache-2.0
"""Logs of all daemons: logfmt lines on standard output, which the journal collects with their priority."""

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


def fields(**values: object) -> dict[str, dict[str, object]]:
    """The `extra=` of a log call: `log.info("lease granted", extra=fields(twin="tmr1", epoch=7))`."""
    return {"fields": values}


def quoted(value: object) -> str:
    """The value as it stands behind `key=`: in double quotes where blanks, quotes or controls ask for it."""
    text = str(value)
    if text and text.isprintable() and not any(character in text for character in " \"'=\\"):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in escaped) + '"'


class KeyValueFormatter(logging.Formatter):
    """`level=… logger=… event=… KEY=VALUE…`; with `journal`, preceded by the `<priority>` of sd-daemon(3)."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        values: dict[str, Any] = {
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        values |= getattr(record, "fields", {})
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        line = " ".join(f"{key}={quoted(value)}" for key, value in values.items())
        if self._journal:
            return f"<{_PRIORITIES.get(record.levelno, 6)}>{line}"
        return f"time={self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03} {line}"


def is_journal(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the stream goes to the journal: systemd.exec(5), JOURNAL_STREAM.

    The variable alone does not say so: a program that is started by a service inherits it.
    """
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def complain(program: str, text: str) -> None:
    """Write the reason for which a program ends to standard error: for people, or with its priority."""
    sys.stdout.flush()
    if is_journal(sys.stderr):
        record = logging.LogRecord(program, logging.ERROR, "", 0, "stopped", (), None)
        record.__dict__.update(fields(reason=text))
        sys.stderr.write(KeyValueFormatter(journal=True).format(record) + "\n")
    else:
        sys.stderr.write(f"{program}: {text}\n")


def setup(level: int = logging.INFO) -> None:
    """Send all logs to standard output. Call once, from `main`."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(KeyValueFormatter(journal=is_journal(sys.stdout)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn.error", "uvicorn.access", "asyncio", "aiohttp", "pyroute2"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))
