"""Requests for the container and its licences."""

from tmr.client.models import Container, ItemList
from tmr.desk.gate import Gate
from tmr.desk.problems import problem


class Catalogue:
    """Requests of clients about containers."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def container(self) -> Container:
        """The container that clients see. Raises Problem."""
        gate, kernel = self._gate, self._gate.kernel
        mark = gate.check()
        container = gate.virtual.container(kernel.upstreams(), kernel.certified_ms(), kernel.epoch)
        await gate.proved(mark)
        return container

    async def items(self, serial: str) -> ItemList:
        """What can be used, and what not and why. Raises Problem."""
        gate, kernel = self._gate, self._gate.kernel
        mark = gate.check()
        if serial != str(gate.virtual.serial):
            raise problem(
                "entry-not-found",
                f"No container {serial} here; there is {gate.virtual.serial}.",
                remedy="Ask `/v1/containers` for what there is.",
            )
        upstreams, time_ms = kernel.upstreams(), kernel.certified_ms()
        found = ItemList(
            items=tuple(gate.virtual.items(upstreams, time_ms)),
            unavailable=tuple(gate.virtual.unavailable(upstreams, time_ms)),
        )
        await gate.proved(mark)
        return found
