# SPDX-License-Identifier: Apache-2.0
"""Requests for the container and its licences."""

from tmr.api.licences import Container, ItemList
from tmr.service.guard import RequestGuard
from tmr.service.problems import problem


class Catalogue:
    """Requests of clients about containers."""

    def __init__(self, guard: RequestGuard) -> None:
        self._guard = guard

    async def container(self) -> Container:
        """The container that clients see. Raises ProblemError."""
        guard, command_log = self._guard, self._guard.command_log
        mark = guard.check()
        container = guard.view.container(
            command_log.upstreams(), command_log.certified_ms(), command_log.epoch
        )
        await guard.proved(mark)
        return container

    async def items(self, serial: str) -> ItemList:
        """Licences that can be used, and those that cannot, with the reason. Raises ProblemError."""
        guard, command_log = self._guard, self._guard.command_log
        mark = guard.check()
        if serial != str(guard.view.serial):
            raise problem(
                "entry-not-found",
                f"No container {serial} here; there is {guard.view.serial}.",
                remedy="Ask `/v1/containers` for what there is.",
            )
        upstreams, time_ms = command_log.upstreams(), command_log.certified_ms()
        found = ItemList(
            items=tuple(guard.view.items(upstreams, time_ms)),
            unavailable=tuple(guard.view.unavailable(upstreams, time_ms)),
        )
        await guard.proved(mark)
        return found
