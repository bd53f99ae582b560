# SPDX-License-Identifier: Apache-2.0
"""Pauses of the active twin while much is held and checkouts go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench import probing, processes
from bench.load.job import Begun, Churned, Job, Opened, Timeline
from bench.load.process import Load
from bench.scale.plan import Plan
from bench.scale.sessions import held
from bench.scale.system import system
from testbed.figures import Latency, latency

RATE = 200.0
"""Checkouts and releases a second."""


class Paused(msgspec.Struct):
    """Times in seconds."""

    sessions: int
    minutes: float
    rate: float
    limit: float
    probed: probing.Pauses
    checkouts: Latency
    """Of checkouts and releases."""
    turned_away: int
    waited: float
    """Part of the time in which the active twin was ready to run and had no processor."""
    commands: int
    """Committed meanwhile."""


def run(plan: Plan, directory: Path, tell: Callable[[str], None]) -> Paused:
    """Hold sessions, ask for others at a steady rate, and probe."""
    with system(directory / "pauses", plan.few_licences) as found:
        active = found.machines.whole()
        keep = held(found, plan)
        with Load(keep) as holding:
            holding.hear(Churned)
            tell(f"{plan.sessions:,} sessions in {holding.hear(Opened).seconds:.1f} s")
            holding.hear(Begun)
            before = found.commands()
            with (
                Load(Job("checkout", found.target(), plan.clients, keep.seconds, rate=RATE)) as load,
                Load(probing.probe(found.target(), keep.seconds)) as light,
            ):
                load.hear(Begun)
                light.hear(Begun)
                waited, began = processes.waited(active.pid), time.monotonic()
                time.sleep(60 * plan.minutes)
                seconds = time.monotonic() - began
                waited = processes.waited(active.pid) - waited
                probed = probing.pauses(light.end(Timeline))
                timeline = load.end(Timeline)
            holding.end(Timeline)
        tell(f"p99.9 {1e3 * probed.took.p999:.1f} ms, longest {1e3 * probed.took.worst:.1f} ms")
        return Paused(
            sessions=plan.sessions,
            minutes=plan.minutes,
            rate=RATE,
            limit=probing.LIMIT,
            probed=probed,
            checkouts=latency(timeline.took),
            turned_away=timeline.turned_away,
            waited=waited / seconds,
            commands=found.commands() - before,
        )
