# SPDX-License-Identifier: Apache-2.0
"""Recent twins of one replica: what each of the two twins said last. A name that is gone makes room. Pure."""

from typing import Final, Generic, TypeVar

TWINS: Final = 2
Value = TypeVar("Value")


class RecentTwins(Generic[Value]):
    """The twins heard last, and what they said."""

    def __init__(self) -> None:
        self._said: dict[str, Value] = {}

    def note(self, twin: str, value: Value) -> Value | None:
        """The twin says this. Returns what it said before; None: it was not among them."""
        before = self._said.pop(twin, None)
        self._said[twin] = value
        while len(self._said) > TWINS:
            del self._said[next(iter(self._said))]
        return before

    def newest_first(self) -> list[tuple[str, Value]]:
        """Names and values, the twin heard last before the other."""
        return list(reversed(self._said.items()))
