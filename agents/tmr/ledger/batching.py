# SPDX-License-Identifier: Apache-2.0
"""Commands that come at the same time share journal entries: one of those costs hardly more than a command.

A command alone is an entry as ever. Submission and outcomes have the same order:
`outcomes.each` has one outcome for each command, in the order in which they were joined.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from tmr.ledger.commands import (
    TOGETHER_MAX,
    Borrow,
    CommandBatch,
    Consume,
    Free,
    GiveBack,
    Grant,
    encode,
    encoded_as,
)

FORMAT: Final = 1
"""The first entry format in which commands may share an entry."""
TOGETHER_BYTES: Final = 2**18
"""Bytes of commands in one entry, unless one alone has more."""


class BatchedEntry(msgspec.Struct, frozen=True):
    """The body of an entry, and how many commands it has."""

    body: bytes
    count: int


def together(bodies: Sequence[bytes], entry_format: int) -> Iterator[BatchedEntry]:
    """As few entries as can be for commands as `encode` writes them, in their order."""
    if entry_format < FORMAT:
        yield from (BatchedEntry(body, 1) for body in bodies)
        return
    run, size = list[bytes](), 0
    for body in bodies:
        shared = encoded_as(body, Grant, Free, Consume, Borrow, GiveBack)
        if run and not (shared and len(run) < TOGETHER_MAX and size + len(body) <= TOGETHER_BYTES):
            yield _joined(run)
            run, size = [], 0
        if shared:
            run.append(body)
            size += len(body)
        else:
            yield BatchedEntry(body, 1)
    if run:
        yield _joined(run)


def _joined(run: list[bytes]) -> BatchedEntry:
    return BatchedEntry(run[0] if len(run) == 1 else encode(CommandBatch(tuple(run))), len(run))
