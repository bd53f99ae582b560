# SPDX-License-Identifier: Apache-2.0
"""Sessions and borrowings of each client, and the bytes that they take in a snapshot.

Snapshots are sent and stored as one piece, which has bounds: so must have what clients say of themselves.
"""

from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar


class SnapshotItem(Protocol):
    """Something that a snapshot holds."""

    @property
    def client(self) -> str:
        """Client that it belongs to."""

    @property
    def size(self) -> int:
        """Bytes that it takes in a snapshot, at most: all that is short, and each text as long as it is."""


class _Held(SnapshotItem, Protocol):
    @property
    def id(self) -> str: ...


H = TypeVar("H", bound=_Held)


def length(*texts: str) -> int:
    """Bytes of the texts."""
    joined = "".join(texts)
    return len(joined) if joined.isascii() else len(joined.encode("utf-8", "replace"))


class Holdings(Generic[H]):
    """Sessions, or borrowings."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes that all of them take."""
        self._of: dict[str, dict[str, H]] = {}
        self._sizes: dict[str, int] = {}

    def add(self, held: H) -> None:
        """One more."""
        self._of.setdefault(held.client, {})[held.id] = held
        self._resize(held.client, held.size)

    def remove(self, held: H) -> None:
        """One less."""
        of_client = self._of[held.client]
        del of_client[held.id]
        self._resize(held.client, -held.size)
        if not of_client:
            del self._of[held.client], self._sizes[held.client]

    def of(self, client: str) -> Mapping[str, H]:
        """The client's, by id, the oldest first."""
        return self._of.get(client, {})

    def size_of(self, client: str) -> int:
        """Bytes that the client's take."""
        return self._sizes.get(client, 0)

    def _resize(self, client: str, by: int) -> None:
        self.size += by
        self._sizes[client] = self._sizes.get(client, 0) + by
