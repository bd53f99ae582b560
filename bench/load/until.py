"""Loads that run until they are told to end: what they print, and how they are told."""

from __future__ import annotations

import asyncio
import gc
import sys

import msgspec


class Begun(msgspec.Struct):
    """The load is under way: its first request is answered, or all of its connections send."""

    at: float


def say(value: object) -> None:
    """One line of JSON on standard output."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


async def told(seconds: float) -> None:
    """Wait until standard input ends, at most `seconds`: the parent process may be gone."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        async with asyncio.timeout(seconds):
            await reader.read()
    except TimeoutError:
        pass
    finally:
        transport.close()


def steady() -> None:
    """No look for garbage from now on: it would be taken for a pause of the server."""
    gc.collect()
    gc.freeze()
    gc.disable()
