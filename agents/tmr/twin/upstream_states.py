# SPDX-License-Identifier: Apache-2.0
"""The three upstreams as one twin sees them now, for all that is told of them."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from tmr.api.status import UpstreamStatus
from tmr.licensing.redundancy import MAJORITY
from tmr.licensing.spelling import instant
from tmr.quorum.proposer import Proposer
from tmr.service.container_view import ContainerView, UpstreamState


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


def upstream_status(twin: Proposer, view: ContainerView, slot: int, state: UpstreamState) -> UpstreamStatus:
    """The upstream in `slot`, for the status of the twin."""
    peer = twin.replicas[slot]
    member, active = peer.state, twin.role == "active"
    return UpstreamStatus(
        name=state.name,
        reachable=state.reachable,
        voting=state.voting,
        container=view.container_of(state),
        match=peer.match_index if active else None,
        commit=member.commit if member else None,
        lag=max(0, twin.log.last - peer.match_index) if active else None,
        last_error=state.error or None,
        since=instant(state.since_ms) if state.since_ms is not None else None,
        clock_synchronised=member.clock_synchronised if member else None,
    )


def other_holder(twin: Proposer) -> str | None:
    """The other twin, where it holds the lease, as two upstreams told."""
    if twin.role == "active":
        return None
    holders = Counter(peer.holder for peer in twin.replicas if peer.reachable and peer.holder)
    name, votes = holders.most_common(1)[0] if holders else ("", 0)
    return name if votes >= MAJORITY and name != twin.owner.name else None
