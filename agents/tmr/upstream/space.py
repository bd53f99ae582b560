"""The disk monitor: it tells of a lack of room before a write fails, while there is time to act."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tmr.rim.logs import fields
from tmr.upstream.node import Node

log = logging.getLogger(__name__)

MIB: Final = 2**20
LOOK_EVERY: Final = 5.0
"""Seconds between looks at the disk."""
EASE: Final = 1.25
"""Times the reserve that must be free until all is well again."""


def free_bytes(directory: Path) -> int:
    """Bytes that the file system of `directory` has left for this process. Raises OSError."""
    return shutil.disk_usage(directory).free


class Space:
    """Watches the file system of `directory`; `reserve`: MiB that are to be free, 0: do not watch."""

    def __init__(
        self,
        node: Node,
        directory: Path,
        reserve: int,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._node = node
        self._directory = directory
        self._reserve = reserve * MIB
        self._free = free
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look now, and from now on. Call in the event loop."""
        self.look()
        self._task = asyncio.get_running_loop().create_task(self._look_for_ever())

    async def stop(self) -> None:
        """End that."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look(self) -> None:
        """Tell the node how much is free. What cannot be measured is not short."""
        try:
            free = self._free(self._directory)
        except OSError as error:
            log.warning("free disk space cannot be read", extra=fields(path=self._directory, error=error))
            self._node.free_bytes = None
            return
        node = self._node
        short = free < self._reserve * (EASE if node.short_of_space else 1)
        if short and not node.short_of_space:
            log.error(
                "short of disk space: new sessions, borrowings and units are refused when a majority is",
                extra=fields(path=self._directory, free_mib=free // MIB, reserve_mib=self._reserve // MIB),
            )
        elif node.short_of_space and not short:
            log.info("enough disk space again", extra=fields(free_mib=free // MIB))
        node.free_bytes, node.short_of_space = free, short

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.look()
