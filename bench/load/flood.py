"""One client that sends far more than its share, until it is told to end."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final

import msgspec

from bench.load.licences import Target, tls
from bench.load.until import Begun, say, told
from testbed import flood as floods

SOURCE: Final = "127.0.0.2"
"""Address that the flood comes from: not its neighbour's."""


class Flood(msgspec.Struct):
    """Target and kind of a flood."""

    target: Target
    kind: floods.Kind


class Sent(msgspec.Struct):
    """Answers by status; `ended`: a connection was ended or refused without an answer."""

    answers: dict[str, int]


async def flood(connections: int, seconds: float, wanted: Flood) -> None:
    """Says Begun, then, when told to end, Sent."""
    os.nice(floods.NICE)
    target = wanted.target
    sending = floods.Flood(
        "127.0.0.1", target.port, tls(target), wanted.kind, connections, name=target.name, source=SOURCE
    )
    task = asyncio.create_task(sending.go_on())
    await asyncio.sleep(1.0)
    say(Begun(time.monotonic()))
    await told(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    say(Sent(dict(sorted(sending.answers.items()))))
