# SPDX-License-Identifier: Apache-2.0
"""Background tasks in the event loop: one at a time, and none fails unseen."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


def tell(error: BaseException) -> None:
    """Log a failure that the process can live with."""
    log.critical("background task failed", exc_info=error)


class Background:
    """Runs one coroutine at a time. `failed(error)` is called where one raises. Use in one event loop."""

    def __init__(self, failed: Callable[[BaseException], None] = tell) -> None:
        self._failed = failed
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """A coroutine is under way."""
        return self._task is not None

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`. Only while nothing is running."""
        assert self._task is None  # noqa: S101
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._done)

    async def stop(self) -> None:
        """Cancel what is under way, and wait for its end."""
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._task = None

    def _done(self, task: asyncio.Task[None]) -> None:
        if task is self._task:
            self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
