"""The status of an upstream on its administration socket."""

import importlib.metadata
from collections.abc import Iterable

from tmr.licensing import fingerprint
from tmr.upstream.keeper import Keeper
from tmr.upstream.node import Node, Syncs
from tmr.upstream.wire import Status


def version() -> str:
    """The version installed."""
    return importlib.metadata.version("tmr")


def read(
    name: str, system: str, node: Node, keeper: Keeper, now: float, alarms: Iterable[str] | None = None
) -> Status:
    """The status at `now`, the node's clock. `alarms`: without them, the node's."""
    acceptor, container = node.acceptor, keeper.container
    membership = acceptor.log.membership
    syncs: Syncs = node.syncs
    network = membership is not None and membership.alone
    holder = None if network else acceptor.live_holder(now)
    return Status(
        name=name,
        system=system,
        version=version(),
        act_id=container.act_id,
        container=container.serial,
        generation=container.generation,
        items=len(container.items),
        disk=acceptor.disk,
        voting=acceptor.voting,
        membership=membership,
        promised=acceptor.promised,
        lease_holder=holder.twin if holder else None,
        lease_remaining_ms=round((acceptor.holder_until - now) * 1000) if holder else None,
        last_index=acceptor.log.last,
        commit=acceptor.commit,
        applied=acceptor.applied,
        syncs=syncs.count,
        sync_last_ms=round(syncs.last * 1000, 3),
        sync_longest_ms=round(syncs.longest * 1000, 3),
        alarms=tuple(node.alarms() if alarms is None else alarms),
        network=network,
        free_bytes=node.free_bytes,
        fingerprint=fingerprint(container.key),
        clock_synchronised=node.clock_synchronised,
        founding=acceptor.log.founding_at(acceptor.commit),
    )
