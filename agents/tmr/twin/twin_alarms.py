# SPDX-License-Identifier: Apache-2.0
"""Alarms of a twin about its own machine, and about the upstreams as it sees them."""

from typing import Final

from tmr.quorum.proposer import Proposer

PAUSE_ALARM: Final = 3600.0
"""Seconds that a pause of this machine by its host stays an alarm."""
ROLLED_BACK_ALARM: Final = 3600.0
"""Seconds that an old copy of an upstream, put back and mended, stays an alarm."""


def pause_alarms(twin: Proposer, now: float) -> list[str]:
    """A pause of this machine during which its clocks stood still."""
    if now - twin.paused_at >= PAUSE_ALARM:
        return []
    return [
        f"this machine stood still for about {twin.paused_for:.1f} s, {now - twin.paused_at:.0f} s ago, and "
        "its clocks with it: its host paused it. Take it out of snapshot backups that halt the machine, and "
        "move it to another host only while the other twin is active"
    ]


def damage_alarms(twin: Proposer) -> list[str]:
    """Upstreams whose disks changed what they had stored, until they are started again."""
    return [
        f"the disk of {name} changed what it had stored: it began anew, and "
        f"{'has everything again' if peer.state.voting else 'does not vote before it has it again'}. Look "
        "at its disk and memory; `tmr-upstream status` there says what was damaged"
        for name, peer in zip(twin.names, twin.replicas, strict=True)
        if peer.state is not None and peer.state.damaged
    ]


def lease_alarms(twin: Proposer) -> list[str]:
    """Upstreams that grant a shorter lease than this twin's own setting: it counts with theirs."""
    return [
        f"{name} grants a lease of {peer.granted:g} s and lease_ttl is {twin.timing.ttl:g} s here: the "
        "shorter one counts; set tmr_lease_ttl alike for all machines and run site.yml to its end"
        for name, peer in zip(twin.names, twin.replicas, strict=True)
        if twin.role == "active" and peer.granted is not None and peer.granted < twin.timing.ttl
    ]


def rollback_alarms(twin: Proposer, now: float) -> list[str]:
    """Upstreams that had less than they had confirmed, in the last hour."""
    return [
        _rolled_back(name, mended=not peer.rolled_back)
        for name, peer in zip(twin.names, twin.replicas, strict=True)
        if now - peer.rolled_back_at < ROLLED_BACK_ALARM
    ]


def _rolled_back(upstream: str, *, mended: bool) -> str:
    """The alarm of an upstream that had less than it had confirmed."""
    now = "It has everything again" if mended else "It does not count before it has everything again"
    return (
        f"{upstream} had less than it had confirmed: an old copy of it was put back, or its disk lost what "
        f"it had written. {now}. Never restore an upstream from a copy; if nobody did, replace its disk"
    )
