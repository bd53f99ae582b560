"""Pauses of the active twin while much is held and checkouts go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench import processes
from bench.load import probe, watch
from bench.load.drive import quantile
from bench.load.hold import Churned, Hold, Kept, Opened
from bench.load.until import Begun
from bench.scale.loads import Load
from bench.scale.plan import Plan
from bench.scale.sessions import EVERY, TTL
from bench.scale.system import system

PROBE_EVERY = 0.005
LIMIT = 0.05
"""Seconds: pauses that are longer are counted."""
RATE = 200.0
"""Checkouts and releases a second."""


class Paused(msgspec.Struct):
    """Times in seconds."""

    sessions: int
    minutes: float
    rate: float
    limit: float
    probed: probe.Pauses
    checkouts: dict[str, float]
    """Latencies of checkouts and releases: p50, p99, p999, worst; `turned_away`: answers 503."""
    waited: float
    """Part of the time in which the active twin was ready to run and had no processor."""
    commands: int
    """Committed meanwhile."""


def run(plan: Plan, directory: Path, tell: Callable[[str], None]) -> Paused:
    """Hold sessions, ask for others at a steady rate, and probe."""
    with system(directory / "pauses", plan.few_licences) as found:
        active = found.machines.whole()
        bound = plan.patience + 120 * plan.minutes
        with Load(
            "tmr-hold", plan.lanes, bound, Hold(found.target("alice"), plan.sessions, TTL, EVERY)
        ) as held:
            held.hear(Churned)
            tell(f"{plan.sessions:,} sessions in {held.hear(Opened).seconds:.1f} s")
            before = found.commands()
            with (
                Load("tmr-watch", plan.clients, bound, watch.Watch(found.target(), RATE)) as load,
                Load("tmr-probe", 1, bound, probe.Probe(found.target(), PROBE_EVERY, LIMIT)) as light,
            ):
                load.hear(Begun)
                light.hear(Begun)
                waited, began = processes.waited(active.pid), time.monotonic()
                time.sleep(60 * plan.minutes)
                seconds = time.monotonic() - began
                waited = processes.waited(active.pid) - waited
                probed = light.end(probe.Pauses)
                timeline = load.end(watch.Timeline)
            held.end(Kept)
        took = sorted(timeline.took)
        tell(f"p99.9 {1e3 * probed.p999:.1f} ms, longest {1e3 * probed.worst:.1f} ms")
        return Paused(
            sessions=plan.sessions,
            minutes=plan.minutes,
            rate=RATE,
            limit=LIMIT,
            probed=probed,
            checkouts={
                "p50": quantile(took, 0.5),
                "p99": quantile(took, 0.99),
                "p999": quantile(took, 0.999),
                "worst": quantile(took, 1.0),
                "turned_away": float(timeline.turned_away),
            },
            waited=waited / seconds,
            commands=found.commands() - before,
        )
