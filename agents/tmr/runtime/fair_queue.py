# SPDX-License-Identifier: Apache-2.0
"""Fair queueing: what waits is taken in turns between those that wait, not in the order of arrival.

Pure. Each flow has a virtual time that grows by the cost of what was taken from it; the flow with the least
is next (start-time fair queueing, Goyal, Vin and Cheng 1996). A flow that was idle begins at the present
virtual time: it is next, and has saved nothing. Flows are nested: a path `("alice", "10.0.0.1")` shares
first between the clients, then between the addresses of one.
"""

import heapq
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

T = TypeVar("T")

IDLE_MAX: Final = 1_000
"""Idle flows whose virtual time is remembered; beyond, those that owe nothing are forgotten."""


class _Flow(msgspec.Struct, Generic[T]):
    """`taken`: virtual time. Items wait in `items`, or deeper in `nested`."""

    taken: float
    items: deque[tuple[T, float]]
    nested: "FairQueue[T] | None" = None

    def __len__(self) -> int:
        return len(self.items) + (0 if self.nested is None else len(self.nested))


class FairQueue(Generic[T]):
    """Items with a path of flows and a cost. All paths of one queue have the same length, at least 1."""

    def __init__(self) -> None:
        self._flows: dict[Hashable, _Flow[T]] = {}
        self._ready: list[tuple[float, int, Hashable]] = []
        """Each flow that has items, once: virtual time, order of arrival, name."""
        self._now = 0.0
        self._arrivals = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def next(self) -> Hashable:
        """Name of the flow whose item is next. Raises IndexError where nothing waits."""
        return self._ready[0][2]

    def push(self, path: Sequence[Hashable], item: T, cost: float = 1.0) -> None:
        """Have `item` wait. `cost`: what it will take of its flows' shares, above 0."""
        name, *rest = path
        flow = self._flows.get(name)
        if flow is None:
            flow = self._flows[name] = _Flow(self._now, deque(), FairQueue() if rest else None)
        if not len(flow):
            flow.taken = max(flow.taken, self._now)
            self._wait(name, flow)
        if flow.nested is None:
            flow.items.append((item, cost))
        else:
            flow.nested.push(rest, item, cost)
        self._size += 1

    def pop(self) -> tuple[T, float]:
        """The next item, and its cost. Raises IndexError where nothing waits."""
        self._now, _, name = heapq.heappop(self._ready)
        flow = self._flows[name]
        item, cost = flow.items.popleft() if flow.nested is None else flow.nested.pop()
        self._size -= 1
        flow.taken += cost
        if len(flow):
            self._wait(name, flow)
        elif not self._size:
            self._flows.clear()  # nobody is kept waiting: nobody owes anything
            self._now = 0.0
        elif len(self._flows) > IDLE_MAX + len(self._ready):
            self._forget()
        return item, cost

    def _wait(self, name: Hashable, flow: _Flow[T]) -> None:
        self._arrivals += 1
        heapq.heappush(self._ready, (flow.taken, self._arrivals, name))

    def _forget(self) -> None:
        self._flows = {
            name: flow for name, flow in self._flows.items() if len(flow) or flow.taken > self._now
        }
