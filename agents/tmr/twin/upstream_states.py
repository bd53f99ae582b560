"""The three upstreams as one twin sees them now, for all that is told of them."""

from collections.abc import Sequence

import msgspec

from tmr.quorum.proposer import Proposer
from tmr.service.container_view import UpstreamState


class Reachability(msgspec.Struct):
    """Reachability of an upstream, since when (wall clock, Unix ms), and its last failure."""

    reachable: bool = False
    since_ms: int | None = None
    error: str = ""


def upstream_states(twin: Proposer, reach: Sequence[Reachability]) -> tuple[UpstreamState, ...]:
    """The state of each upstream, in the membership's order."""
    return tuple(_state(twin, slot, reach[slot]) for slot in range(len(twin.names)))


def _state(twin: Proposer, slot: int, reach: Reachability) -> UpstreamState:
    peer = twin.replicas[slot]
    member = peer.state
    # A twin that has mirrored nothing yet knows no membership: it takes an upstream's word.
    counts = twin.is_member(slot) or (
        twin.log.membership is None and not peer.rolled_back and not peer.foreign
    )
    return UpstreamState(
        twin.names[slot],
        peer.reachable,
        member is not None and member.voting and counts and peer.refused_upto is None,
        "" if member is None or peer.foreign else member.container,
        0 if member is None else member.generation,
        reach.since_ms,
        reach.error,
        member is not None and member.short,
    )
