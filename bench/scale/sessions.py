# SPDX-License-Identifier: Apache-2.0
"""The cost of very many sessions that are only kept alive."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.load.job import Begun, Churned, Job, Opened, Timeline
from bench.load.many import BEATS
from bench.load.process import Load
from bench.scale.plan import Plan
from bench.scale.system import System, system
from testbed.figures import Latency, latency

EVERY = 30.0
"""Seconds between two heartbeats of a session."""
TTL = 120


class Sessions(msgspec.Struct):
    """By daemon: processors used, and resident bytes. `window`: seconds in which processors were watched."""

    sessions: int
    licences: int
    every: float
    window: float
    active: str
    opened: float
    """Seconds for opening all."""
    idle: dict[str, float]
    """Processor seconds a second in a window before, while nothing was held."""
    cpu: dict[str, float]
    """The same while all were held."""
    fresh: dict[str, int]
    """After the start, with licences alone."""
    worn: dict[str, int]
    """After `churn` commands, nothing held: what is remembered of them is bounded, and there by now."""
    held: dict[str, int]
    """At the end of the window, all sessions held."""
    churn: int
    kept: Latency
    """Of a request for heartbeats."""


def run(plan: Plan, directory: Path, tell: Callable[[str], None]) -> Sessions:
    """Hold them, and watch."""
    with system(directory / "sessions", plan.few_licences) as found:
        active = found.machines.whole().name
        fresh = found.memory()
        idle, _ = _used(found, plan.window / 4)
        job = msgspec.structs.replace(held(found, plan), churn=plan.churn)
        with Load(job) as load:
            churned = load.hear(Churned)
            worn = found.memory()
            tell(f"{plan.churn:,} commands in {churned.seconds:.1f} s")
            opened = load.hear(Opened)
            tell(f"{opened.sessions:,} sessions in {opened.seconds:.1f} s")
            load.hear(Begun)
            time.sleep(plan.window / 4)
            cpu, window = _used(found, plan.window)
            full = found.memory()
            kept = latency(load.end(Timeline).took)
        tell(f"{active}: {100 * cpu[active]:.1f} % of a processor")
        return Sessions(
            sessions=plan.sessions,
            licences=plan.few_licences,
            every=EVERY,
            window=window,
            active=active,
            opened=opened.seconds,
            idle=idle,
            cpu=cpu,
            fresh=fresh,
            worn=worn,
            held=full,
            churn=plan.churn,
            kept=kept,
        )


def held(found: System, plan: Plan) -> Job:
    """Many sessions, each with a heartbeat every EVERY seconds, evenly spread."""
    return Job(
        "hold",
        found.target("alice"),
        plan.lanes,
        plan.patience + 3 * plan.window + 120 * plan.minutes,
        rate=plan.sessions / BEATS / EVERY,
        sessions=plan.sessions,
        ttl=TTL,
    )


def _used(found: System, seconds: float) -> tuple[dict[str, float], float]:
    """Processor seconds a second that each daemon uses in so many seconds, and how many it were."""
    before, began = found.cpu(), time.monotonic()
    time.sleep(seconds)
    after, window = found.cpu(), time.monotonic() - began
    return {name: (after[name] - before[name]) / window for name in after}, window
