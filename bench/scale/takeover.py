# SPDX-License-Identifier: Apache-2.0
"""From `kill -9` of the active twin to the first checkout that the other answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.load.job import Answered, Begun, Job
from bench.load.process import Load
from bench.scale.grow import commit, fill
from bench.scale.plan import Plan
from bench.scale.system import System, system

PATIENCE = 60.0
WARM_UP = 2
"""Kills that are not counted: then both twins have started the way they do in all others."""


class Row(msgspec.Struct):
    """Kills in one state of the system. `seconds`: one number for each kill."""

    commands: int
    """Committed before."""
    entries: int
    sessions: int
    seconds: list[float]


class Takeover(msgspec.Struct):
    """An empty journal, a long one, and a long one with many sessions held."""

    empty: Row
    long: Row
    held: Row
    ttl: float
    """Of the lease, seconds."""


def run(plan: Plan, directory: Path, tell: Callable[[str], None]) -> Takeover:
    """Kill the active twin several times in each state."""
    with system(directory / "takeover", plan.few_licences) as found:
        for _ in range(WARM_UP):
            _kill(found)
        empty = _row(found, plan, 0, 0, tell)
        commit(found, plan, plan.commands, tell)
        long = _row(found, plan, plan.commands, 0, tell)
        found.machines.whole()
        fill(found, plan.sessions, plan)
        held = _row(found, plan, plan.commands + plan.sessions, plan.sessions, tell)
        return Takeover(empty, long, held, found.ttl)


def _row(found: System, plan: Plan, commands: int, sessions: int, tell: Callable[[str], None]) -> Row:
    entries, seconds = found.commit(), []
    for _ in range(plan.kills):
        seconds.append(_kill(found))
        tell(f"{commands:9,} commands, {sessions:7,} sessions: {1e3 * seconds[-1]:7.1f} ms")
    return Row(commands, entries, sessions, seconds)


def _kill(found: System) -> float:
    active = found.machines.whole()
    other = found.machines.other(active)
    job = Job("first", found.target(twin=active), 1, PATIENCE, other=found.target(twin=other))
    with Load(job) as load:
        load.hear(Begun)
        killed = time.monotonic()
        active.kill()
        answered = load.hear(Answered)
    if answered.by != other.name:
        raise RuntimeError(f"{answered.by} answered, and {other.name} should have")
    return answered.at - killed
