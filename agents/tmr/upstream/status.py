# SPDX-License-Identifier: Apache-2.0
"""The status of an upstream on its administration socket."""

import importlib.metadata
from collections.abc import Iterable

from tmr.licensing import fingerprint
from tmr.licensing.spelling import instant
from tmr.upstream.acceptor_runner import AcceptorRunner, Syncs
from tmr.upstream.admin_messages import Status
from tmr.upstream.container_store import ContainerStore


def version() -> str:
    """The version installed."""
    return importlib.metadata.version("tmr")


def read(
    name: str,
    system: str,
    runner: AcceptorRunner,
    container_store: ContainerStore,
    now: float,
    alarms: Iterable[str] | None = None,
) -> Status:
    """The status at `now`, the node's clock. `alarms`: without them, the node's."""
    acceptor, container = runner.acceptor, container_store.container
    membership = acceptor.log.membership
    syncs: Syncs = runner.syncs
    deployment = container_store.deployment
    ends = acceptor.certificate.ends_ms
    holder = acceptor.live_holder(now) if deployment.replicas > 1 else None
    return Status(
        name=name,
        system=system,
        version=version(),
        act_id=container.act_id,
        container=container.serial,
        generation=container.generation,
        items=len(container.items),
        replica_id=acceptor.replica_id,
        voting=acceptor.voting,
        membership=membership,
        promised=acceptor.promised,
        lease_holder=holder.name if holder else None,
        lease_remaining_ms=round((acceptor.holder_until - now) * 1000) if holder else None,
        last_index=acceptor.log.last,
        commit=acceptor.commit,
        applied=acceptor.applied,
        syncs=syncs.count,
        sync_last_ms=round(syncs.last * 1000, 3),
        sync_longest_ms=round(syncs.longest * 1000, 3),
        alarms=tuple(runner.alarms() if alarms is None else alarms),
        deployment=deployment.name,
        free_bytes=runner.free_bytes,
        fingerprint=fingerprint(container.key),
        clock_synchronised=runner.clock_synchronised,
        founding=acceptor.log.founding_at(acceptor.commit),
        certificate_ends=None if ends is None else instant(ends).isoformat(),
    )
