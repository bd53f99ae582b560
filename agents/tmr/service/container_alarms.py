# SPDX-License-Identifier: Apache-2.0
"""Alarms about containers and constituents."""

from collections.abc import Iterable

from tmr.ledger import Ledger
from tmr.licensing.spelling import counted
from tmr.service.container_view import ContainerView, UpstreamState


def _lacking(view: ContainerView, ledger: Ledger, upstreams: Iterable[UpstreamState]) -> list[str]:
    """Licences that lost a constituent for good: the container of an upstream is gone, or has none."""
    found = []
    for upstream in upstreams:
        gone = view.standing(upstream) in ("another", "withdrawn", "older")
        keys = [
            key
            for key, merged in ledger.licences.items()
            if upstream.name in merged.missing
            or upstream.name in ledger.withdrawn
            or (gone and upstream.name in merged.agreeing)
        ]
        if keys:
            found.append(
                f"{upstream.name} holds no constituent of {len(keys)} licences, such as {keys[0]}: one "
                "more loss stops them. Have the vendor issue them to its container"
            )
    return found


def container_alarms(view: ContainerView, ledger: Ledger, upstreams: Iterable[UpstreamState]) -> list[str]:
    """Alarms for an operator: different constituents, containers not counted, full disks."""
    upstreams = tuple(upstreams)
    found = [*ledger.merged.alarms, *_lacking(view, ledger, upstreams)]
    for key, merged in ledger.licences.items():
        if merged.item.emergency and (taken := ledger.use(key).seats):
            found.append(f"the emergency licence {key} is in use: {counted(taken, 'seat')}")
    if not view.deployment.tmr_ids:
        items = [item for one in ledger.statements.values() for item in one.items]
        if constituents := [str(item.key) for item in items if item.tmr_id is not None]:
            found.append(
                f"constituents of TMR licences are not granted here: {', '.join(constituents[:5])}"
                + (f" and {len(constituents) - 5} more" if len(constituents) > 5 else "")
            )
    for upstream in upstreams:
        if upstream.counts and view.standing(upstream) == "unknown":
            found.append(f"{view.gone(upstream)}: install the version there that the other machines have")
        if upstream.reachable and upstream.short and view.deployment.replicas > 1:
            found.append(f"{upstream.name} is short of disk space: make room there")
    return found
