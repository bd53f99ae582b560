#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Generation of the sync client: `_sync*.py` is `_async*.py` without `async` and `await`.

agents/unasync.py            writes it
agents/unasync.py --check    exit status 1 where it is not up to date
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

CLIENT: Final = Path(__file__).parent / "tmr/client"
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
    (r"AsyncTransport", "SyncTransport"),
    (r"tmr\.client\._async", "tmr.client._sync"),
    (r"HeartbeatTask", "HeartbeatThread"),
    (r"asyncio\.sleep", "time.sleep"),
    (r"asyncio\.Event", "threading.Event"),
    (r"import asyncio", "import threading"),
)
"""Regular expressions for code, in their order, with their replacements."""
PHRASES: Final = {
    "_async.py": (
        ("import asyncio\n", ""),
        (
            "The client for asyncio programs. `_sync.py` is generated from this module.",
            "The client for threaded programs. Generated from `_async.py`: do not edit.",
        ),
        ("Use it in one event loop.", "Several threads may use it at once."),
        ("in a task of their own", "on a thread of their own"),
        ("called in that task", "called on that thread"),
        ("an `async with` block", "a `with` block"),
    ),
    "_async_session.py": (
        (
            "A session of an asyncio program. `_sync_session.py` is generated from this module.",
            "A session of a threaded program. Generated from `_async_session.py`: do not edit.",
        ),
        ("an async context manager", "a context manager"),
    ),
    "_async_transport.py": (
        ("import asyncio\n", "import time\n"),
        (
            "Requests of the async client. `_sync_transport.py` is generated from this module.",
            "Requests of the sync client. Generated from `_async_transport.py`: do not edit.",
        ),
    ),
}
"""Phrases by module, of docstrings above all; each has to be there."""


def generated(name: str) -> str:
    """The sync module for this async one, formatted. Raises ValueError where a phrase is not there."""
    source = (CLIENT / name).read_text()
    for phrase, replacement in PHRASES[name]:
        if phrase not in source:
            raise ValueError(f"{name} has no {phrase!r} any more: change PHRASES in {Path(__file__).name}")
        source = source.replace(phrase, replacement)
    for pattern, replacement in WORDS:
        source = re.sub(rf"(?<!\w){pattern}" if pattern[0].isalpha() else pattern, replacement, source)
    for command in (["check", "--quiet", "--select", "I", "--fix"], ["format", "--quiet"]):
        ruff = [RUFF, *command, "--stdin-filename", str(target(name)), "-"]
        source = subprocess.run(ruff, input=source, text=True, stdout=subprocess.PIPE, check=True).stdout
    return source


def target(name: str) -> Path:
    """The sync module for the async one of this name."""
    return CLIENT / name.replace("_async", "_sync")


def main(arguments: list[str]) -> int:
    """Write the sync client, or check it."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    stale = 0
    for name in PHRASES:
        wanted = generated(name)
        if not arguments:
            target(name).write_text(wanted)
        elif not target(name).exists() or target(name).read_text() != wanted:
            print(f"{target(name)} is not what {name} gives: run agents/unasync.py", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
