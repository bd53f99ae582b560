#!/usr/bin/env python3
"""Generation of the sync client: `_sync.py` is `_async.py` without `async` and `await`.

agents/unasync.py            writes it
agents/unasync.py --check    exit status 1 where it is not up to date
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

CLIENT: Final = Path(__file__).parent / "tmr/client"
SOURCE: Final = CLIENT / "_async.py"
TARGET: Final = CLIENT / "_sync.py"
RUFF: Final = str(Path(sys.executable).parent / "ruff")

WORDS: Final = (
    (r"async def\b", "def"),
    (r"async with\b", "with"),
    (r"\(await ([^()]+\([^()]*\))\)", r"\1"),
    (r"await ", ""),
    (r"Awaitable\[object\]", "object"),
    (r"Awaitable, ", ""),
    (r"__aenter__", "__enter__"),
    (r"__aexit__", "__exit__"),
    (r"aclose", "close"),
    (r"AsyncHTTPTransport", "HTTPTransport"),
    (r"httpx\.AsyncClient", "httpx.Client"),
    (r"AsyncClient", "Client"),
    (r"HeartbeatTask", "HeartbeatThread"),
    (r"asyncio\.sleep", "time.sleep"),
    (r"asyncio\.Event", "threading.Event"),
    (r"import asyncio", "import threading"),
)
"""Regular expressions for code, in their order, with their replacements."""
PHRASES: Final = (
    (
        "The client for asyncio programs. `_sync.py` is generated from this module by `agents/unasync.py`.",
        "The client for threaded programs. Generated from `_async.py` by `agents/unasync.py`: do not edit.",
    ),
    ("Use it in one event loop.", "Several threads may use it at once."),
    ("in a task of their own", "on a thread of their own"),
    ("called in that task", "called on that thread"),
    ("an `async with` block", "a `with` block"),
    ("an async context manager", "a context manager"),
)
"""Phrases of docstrings; each has to be there."""


def generated(source: str) -> str:
    """The sync client for the async one, formatted. Raises ValueError where a phrase is not there."""
    for phrase, replacement in PHRASES:
        if phrase not in source:
            raise ValueError(
                f"{SOURCE.name} has no {phrase!r} any more: change PHRASES in {Path(__file__).name}"
            )
        source = source.replace(phrase, replacement)
    for pattern, replacement in WORDS:
        source = re.sub(rf"(?<!\w){pattern}" if pattern[0].isalpha() else pattern, replacement, source)
    for command in (["check", "--quiet", "--select", "I", "--fix"], ["format", "--quiet"]):
        ruff = [RUFF, *command, "--stdin-filename", str(TARGET), "-"]
        source = subprocess.run(ruff, input=source, text=True, stdout=subprocess.PIPE, check=True).stdout
    return source


def main(arguments: list[str]) -> int:
    """Write the sync client, or check it."""
    wanted = generated(SOURCE.read_text())
    if arguments == ["--check"]:
        if TARGET.read_text() != wanted:
            print(f"{TARGET} is not what {SOURCE.name} gives: run agents/unasync.py", file=sys.stderr)
            return 1
    elif arguments:
        print(__doc__, file=sys.stderr)
        return 2
    else:
        TARGET.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
