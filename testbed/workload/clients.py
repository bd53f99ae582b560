# SPDX-License-Identifier: Apache-2.0
"""Runs on the client machine: all clients of a plan in one event loop, until SIGTERM or the plan's end.

    python -m workload.clients PLAN OUTPUT

PLAN is a file of JSON (`Plan`). OUTPUT gets a line for each request when it is sent, and one when its outcome
is known. At the end the clients begin nothing new, give back what they have, and end.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from tmr.client import load

from .observed import Counting
from .operations import Journal
from .plan import Plan
from .worker import Worker


async def _work(plan: Plan, output: Path) -> None:
    journal, config, workers = Journal(output, plan.began), load(), list[Worker]()
    async with AsyncExitStack() as stack:
        for group in plan.groups():
            source = {"source": group[0].address} if group[0].address else {}
            own = type(config).model_validate({**config.model_dump(), **source})
            asking = await stack.enter_async_context(Counting(own))
            workers += [Worker(plan, client, asking, journal) for client in group]

        ending = set[asyncio.Task[None]]()

        def stop() -> None:
            ending.add(asyncio.create_task(_end(workers)))

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop)
        loop.call_later(plan.seconds, stop)
        await asyncio.gather(*(worker.run() for worker in workers))


async def _end(workers: Sequence[Worker]) -> None:
    """Have all leave their queues, and then give back what they hold.

    A seat that is given back goes to the next in the queue: a client that leaves at that moment never hears
    of the seat, nor of the units that went with it.
    """
    for worker in workers:
        worker.leave_queue()
    for worker in workers:
        await worker.unqueued.wait()
    for worker in workers:
        worker.stop()


def main() -> None:
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    asyncio.run(_work(plan, Path(sys.argv[2])))


if __name__ == "__main__":
    main()
