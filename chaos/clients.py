# SPDX-License-Identifier: Apache-2.0
"""Runs on the client machine: all clients of a campaign in one event loop, until SIGTERM.

    python -m chaos.clients SETTING OUTPUT

SETTING is JSON (`Setting`). OUTPUT gets a line for each request when it is sent, and one when its outcome is
known. At SIGTERM the clients begin nothing new, give back what they have, and end.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from tmr.client import load

from .observed import Counting, Journal
from .worker import Setting, Worker
from .workload import habits

_TOGETHER = 4
"""Clients that share the connections of one process."""


async def _work(setting: Setting, output: Path) -> None:
    journal, config, everybody = Journal(output, setting.began), load(), habits()
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Counting(config)) for _ in range(0, len(everybody), _TOGETHER)
        ]
        workers = [
            Worker(setting, habit, clients[number // _TOGETHER], journal)
            for number, habit in enumerate(everybody)
        ]

        def stop() -> None:
            for worker in workers:
                worker.stop()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        await asyncio.gather(*(worker.run() for worker in workers))


def main() -> None:
    setting = msgspec.json.decode(sys.argv[1], type=Setting)
    asyncio.run(_work(setting, Path(sys.argv[2])))


if __name__ == "__main__":
    main()
