"""Readiness of a twin: whether it could take over at once, as it sees itself. No I/O, no clock."""

from typing import Final

from tmr.quorum.proposer import OBJECTS, Proposer

LAG: Final = 2_000
"""Entries that a ready twin may lack: what one answer to `follow` brings, or a promise."""


def hindrance(twin: Proposer, now: float) -> str:
    """Reason why this twin could not serve at once if the lease were free, for people; empty: it could.

    `now` is seconds on its monotonic clock. What the rim knows (the address, the front network) is not in it.
    """
    if twin.role == "active":
        return "" if twin.holds(now) else "its term is not committed yet"
    if twin.outdated:
        return twin.outdated
    if twin.anchors.objection is not None:
        return OBJECTS
    heard = [progress.member for progress in twin.peers if progress.member is not None and progress.reachable]
    if len(heard) < 2:
        return "it reaches fewer than two upstreams"
    if twin.log.membership is None:
        return "it has not mirrored the journal yet"
    # The second highest: one upstream that is wrong keeps no twin from being ready.
    lag = sorted(member.commit for member in heard)[-2] - twin.applied
    return f"it has still to mirror {lag} entries of the journal" if lag > LAG else ""
