# SPDX-License-Identifier: Apache-2.0
"""Readiness of a twin: whether it could take over at once, as it sees itself. No I/O, no clock."""

from typing import Final

from tmr.quorum.election import OBJECTS
from tmr.quorum.majority import is_majority, reached
from tmr.quorum.proposer import Proposer

LAG: Final = 2_000
"""Entries that a ready twin may lack: what one answer to `Subscribe` brings, or a promise."""


def hindrance(twin: Proposer, now: float) -> str:
    """Reason why this twin could not serve at once if the lease were free, for people; empty: it could.

    `now` is seconds on its monotonic clock. What the runtime knows (address, front network) is not in it.
    """
    if twin.role == "active":
        return "" if twin.holds(now) else "its term is not committed yet"
    if twin.outdated:
        return twin.outdated
    if twin.anchors.objection is not None:
        return OBJECTS
    heard = [
        progress.state for progress in twin.replicas if progress.state is not None and progress.reachable
    ]
    if not is_majority(heard):
        return "it reaches fewer than two upstreams"
    if twin.log.membership is None:
        return "it has not mirrored the journal yet"
    # What a majority has: one replica that is wrong keeps no twin from being ready.
    lag = reached((state.commit for state in heard), 0) - twin.applied
    return f"it has still to mirror {lag} entries of the journal" if lag > LAG else ""
