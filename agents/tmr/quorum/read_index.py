# SPDX-License-Identifier: Apache-2.0
"""A read of one replica's ledger for the holder of its lease, up to what the holder has committed (Raft 6.4).

The asker names its epoch and the index that it has committed. A replica signs a statement about its own
ledger only after this check. For a former term, or before it has all that is committed, it could sign a
borrowing that has ended since.
"""

from typing import Literal

import msgspec

from tmr.quorum.acceptor import Acceptor
from tmr.quorum.entries import Count, ProposerId

Obstacle = Literal["not-voting", "rolled-back", "fenced", "not-applied"]
"""`fenced`: the asker does not hold this replica's lease. `not-applied`: not yet, ask again."""


class ReadIndex(msgspec.Struct, frozen=True, array_like=True):
    """The asker's term, and the last entry that it has committed and applied."""

    epoch: Count
    owner: ProposerId
    index: Count


def obstacle(acceptor: Acceptor, now: float, asked: ReadIndex) -> Obstacle | None:
    """Reason that keeps the replica from a statement about its ledger at `now` (its monotonic clock), or
    None.
    """
    if not acceptor.voting or acceptor.diverged or acceptor.differs:
        return "not-voting"
    if acceptor.rolled_back:
        return "rolled-back"
    if (asked.epoch, asked.owner) != (acceptor.promised, acceptor.live_holder(now)):
        return "fenced"
    return "not-applied" if acceptor.applied < asked.index else None
