"""Run one action again and again from so many clients at once, and measure it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

Action = Callable[[], Awaitable[None]]
"""One operation of one client. Raises where it was not carried out as asked."""


class Measured(msgspec.Struct):
    """Figures of a run. Latencies in seconds, `seconds` without the warm-up."""

    clients: int
    seconds: float
    operations: int
    all_operations: int
    """With those of the warm-up, and those that were still under way at the end."""
    p50: float
    p90: float
    p99: float
    worst: float
    cpu: float
    """Processor seconds of this process."""

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds


def quantile(ordered: Sequence[float], part: float) -> float:
    """The value below which `part` of the ordered values lie."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")


async def drive(actions: Sequence[Action], seconds: float, warm_up: float) -> Measured:
    """Each action in a loop for `warm_up` + `seconds`; only what began after the warm-up counts."""
    start = time.monotonic() + warm_up
    end = start + seconds
    latencies: list[float] = []
    cpu = [0.0]
    done_ones = 0

    async def loop(action: Action) -> None:
        nonlocal done_ones
        while (began := time.monotonic()) < end or not latencies:
            await action()
            done = time.monotonic()
            done_ones += 1
            if began >= start and (done <= end or not latencies):  # one at least, however slow
                latencies.append(done - began)

    async def note() -> None:
        await asyncio.sleep(warm_up)
        cpu[0] = time.process_time()

    await asyncio.gather(note(), *(loop(action) for action in actions))
    used = time.process_time() - cpu[0]
    latencies.sort()
    return Measured(
        clients=len(actions),
        seconds=seconds,
        operations=len(latencies),
        all_operations=done_ones,
        p50=quantile(latencies, 0.5),
        p90=quantile(latencies, 0.9),
        p99=quantile(latencies, 0.99),
        worst=latencies[-1] if latencies else float("nan"),
        cpu=used,
    )
