# SPDX-License-Identifier: Apache-2.0
"""A queue of timers, the earliest first."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

T = TypeVar("T", str, tuple[int, int])


class TimerQueue(Generic[T]):
    """Pairs of a time (Unix milliseconds) and a thing that can be ordered. A pair is in it once at most."""

    def __init__(self, pairs: Iterable[tuple[int, T]] = ()) -> None:
        self._pairs: list[tuple[int, Any]] = sorted(set(pairs))

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, time_ms: int, what: T) -> None:
        """`what` is to happen at `time_ms`."""
        if self._at(time_ms, what) is None:
            insort(self._pairs, (time_ms, what))

    def remove(self, time_ms: int, what: T) -> None:
        """It is not to happen any more. Raises KeyError where it was not."""
        found = self._at(time_ms, what)
        if found is None:
            raise KeyError(what)
        del self._pairs[found]

    def until(self, time_ms: int) -> list[T]:
        """Events that are to have happened by `time_ms`."""
        if not self._pairs or self._pairs[0][0] > time_ms:  # as at nearly all times
            return []
        return [what for _, what in self._pairs[: self._end(time_ms)]]

    def pop(self, time_ms: int) -> list[T]:
        """The same, and strike it off."""
        found = self.until(time_ms)
        del self._pairs[: len(found)]
        return found

    def _end(self, time_ms: int) -> int:
        return bisect_right(self._pairs, time_ms, key=lambda pair: pair[0])

    def _at(self, time_ms: int, what: T) -> int | None:
        number = bisect_left(self._pairs, (time_ms, what))
        return number if self._pairs[number : number + 1] == [(time_ms, what)] else None
