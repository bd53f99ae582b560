# SPDX-License-Identifier: Apache-2.0
"""The disk monitor: it tells of a lack of room before a write fails, while there is time to act."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tmr.runtime.background import Background
from tmr.runtime.logs import fields
from tmr.upstream.acceptor_runner import AcceptorRunner

log = logging.getLogger(__name__)

MIB: Final = 2**20
LOOK_EVERY: Final = 5.0
"""Seconds between looks at the disk."""
EASE: Final = 1.25
"""Times the reserve that must be free until all is well again."""


def free_bytes(directory: Path) -> int:
    """Bytes that the file system of `directory` has left for this process. Raises OSError."""
    return shutil.disk_usage(directory).free


class DiskMonitor:
    """Watches the file system of `directory`; `reserve`: MiB that are to be free, 0: do not watch."""

    def __init__(
        self,
        runner: AcceptorRunner,
        directory: Path,
        reserve: int,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._runner = runner
        self._directory = directory
        self._reserve = reserve * MIB
        self._free = free
        self._background = Background()

    def start(self) -> None:
        """Look now, and from now on. Call in the event loop."""
        self.look()
        self._background.start(self._look_for_ever())

    async def stop(self) -> None:
        """End that."""
        await self._background.stop()

    def look(self) -> None:
        """Tell the node how much is free. What cannot be measured is not short."""
        try:
            free = self._free(self._directory)
        except OSError as error:
            log.warning("free disk space cannot be read", extra=fields(path=self._directory, error=error))
            self._runner.free_bytes = None
            return
        runner = self._runner
        short = free < self._reserve * (EASE if runner.short_of_space else 1)
        if short and not runner.short_of_space:
            log.error(
                "short of disk space: new sessions, borrowings and units are refused when a majority is",
                extra=fields(path=self._directory, free_mib=free // MIB, reserve_mib=self._reserve // MIB),
            )
        elif runner.short_of_space and not short:
            log.info("enough disk space again", extra=fields(free_mib=free // MIB))
        runner.free_bytes, runner.short_of_space = free, short

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.look()
