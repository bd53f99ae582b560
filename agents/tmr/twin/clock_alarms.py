# SPDX-License-Identifier: Apache-2.0
"""Alarms of the upstreams' wall clocks, which make certified time."""

from collections.abc import Iterable
from typing import Final

from tmr.licensing.spelling import instant, written_time
from tmr.quorum.consensus_clock import AGREE_MS, CertifiedClock
from tmr.quorum.progress import Progress
from tmr.quorum.steady_clock import SteadyClock

FAST_ALARM: Final = 3600.0
"""Seconds that a monotonic clock of this machine that ran fast stays an alarm."""


def clock_alarms(certified: CertifiedClock, now_ms: float) -> list[str]:
    """Alarms at monotonic `now_ms`: clocks that confirm none, or else those that are off."""
    if shown := certified.unconfirmed(now_ms):
        told = ", ".join(f"{name} shows {written_time(instant(ms))}" for name, ms in sorted(shown.items()))
        return [
            f"no two upstreams' clocks agree within {AGREE_MS // 1000} s ({told}): certified time goes "
            "on by the active twin's monotonic clock. Run `chronyc tracking` on each; set the clocks right"
        ]
    off = sorted(certified.deviations(now_ms).items())
    return [f"the clock of {name} is off by {ms / 1000:+.1f} s" for name, ms in off]


def synchronisation_alarms(peers: Iterable[tuple[str, Progress]]) -> list[str]:
    """Alarms of upstreams by name whose clocks no time source keeps, although one should."""
    found = [
        name for name, peer in peers if peer.reachable and peer.state is not None and peer.state.clock_alarm
    ]
    if not found:
        return []
    return [
        f"no time source keeps the clock of {' and '.join(found)}: run `chronyc tracking` there; where there "
        "is to be none, set tmr_upstream_clock_sync to false and run site.yml"
    ]


def fast_clock_alarms(steady: SteadyClock, now: float) -> list[str]:
    """Alarm of this machine's monotonic clock, which ran faster than those of two upstreams."""
    if now - steady.fast_at >= FAST_ALARM:
        return []
    return [
        f"the clock of this machine got {steady.fast_by:.1f} s ahead of those of two upstreams within a "
        f"minute, {now - steady.fast_at:.0f} s ago: it runs fast, or both upstreams stood still. Sessions "
        "and certified time go by the slower clocks; look at this machine's clock source "
        "(/sys/devices/system/clocksource/clocksource0/current_clocksource)"
    ]
