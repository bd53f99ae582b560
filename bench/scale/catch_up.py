# SPDX-License-Identifier: Apache-2.0
"""An upstream that was away while very much was committed: until it votes and has everything."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec

from bench.load.job import Begun, Job, Timeline
from bench.load.process import Load
from bench.scale.grow import commit
from bench.scale.plan import Plan
from bench.scale.system import System, status, system
from lab.wait import until
from testbed.figures import Latency, latency, percentile
from testbed.loopback import Upstream

LOOK_EVERY = 0.05
PATIENCE = 300.0
SETTLE = 2.0
"""Seconds of load before the upstream is started."""


class CatchUp(msgspec.Struct):
    """Times in seconds, from the start of the process. `before`: all three upstreams; `two`: it was away."""

    commands: int
    """Committed while it was away."""
    clients: int
    missed: int
    """Journal entries that it lacked when it was started."""
    answers: float
    whole: float
    """It votes, and has all that is committed."""
    recorded: float
    """It has all lines of the licence tracking record, too."""
    way: str
    """`journal` or `snapshot`."""
    messages: dict[str, int]
    before: Latency
    two: Latency
    during: Latency
    filling: Latency
    """From when it was whole until it had the record."""
    turned_away: int
    line: list[tuple[float, float, float]]
    """Each second from its start: p50 and p99."""


def run(plan: Plan, directory: Path, tell: Callable[[str], None]) -> CatchUp:
    """Stop one, commit, start it again."""
    with system(directory / "catch-up", plan.few_licences) as found:
        found.machines.whole()
        away = found.machines.upstreams[2]
        before = latency(_watched(found, plan, plan.seconds).took)
        away.terminate()
        two = latency(_watched(found, plan, plan.seconds).took)
        stood = found.commit()
        seconds = commit(found, plan, plan.commands, tell)
        tell(f"{plan.commands:,} commands in {seconds:.0f} s without {away.name}")
        bound = PATIENCE + SETTLE + 60
        with Load(Job("checkout", found.target(), plan.clients, bound)) as load:
            load.hear(Begun)
            time.sleep(SETTLE)
            missed = found.commit() - stood
            started = time.monotonic()
            away.start()
            answers = _until(lambda: _looks(away), started)
            whole = _until(lambda: _whole(found, away), started)
            messages = found.messages(away)
            tell(f"whole after {whole:.1f} s: {messages}")
            recorded = _until(lambda: not found.record_gap(away), started, pause=0.5)
            tell(f"with the record after {recorded:.1f} s")
            timeline = load.end(Timeline)
        return CatchUp(
            commands=plan.commands,
            clients=plan.clients,
            missed=missed,
            answers=answers,
            whole=whole,
            recorded=recorded,
            way=way(messages),
            messages=messages,
            before=before,
            two=two,
            during=latency(timeline.within(started, started + whole)),
            filling=latency(timeline.within(started + whole, started + recorded)),
            turned_away=timeline.turned_away,
            line=line(timeline, started),
        )


def way(messages: dict[str, int]) -> str:
    """Way in which an upstream caught up, by the messages that it answered."""
    return "snapshot" if messages.get("install appended") else "journal"


def line(timeline: Timeline, started: float) -> list[tuple[float, float, float]]:
    """Each second from `started` in which something ended: p50 and p99 of what ended in it."""
    seconds: dict[int, list[float]] = {}
    for began, took in zip(timeline.began, timeline.took, strict=True):
        seconds.setdefault(int((began + took - started) // 1), []).append(took)
    return [
        (float(second), percentile(sorted(found), 50), percentile(sorted(found), 99))
        for second, found in sorted(seconds.items())
    ]


def _watched(found: System, plan: Plan, seconds: float) -> Timeline:
    with Load(Job("checkout", found.target(), plan.clients, seconds + 60)) as load:
        load.hear(Begun)
        time.sleep(seconds)
        return load.end(Timeline)


def _looks(upstream: Upstream) -> bool:
    try:
        return bool(status(upstream).name)
    except httpx.HTTPError:
        return False


def _whole(found: System, away: Upstream) -> bool:
    """It votes, and has what another had committed a moment ago: more is being committed all the time."""
    committed = status(found.machines.upstreams[0]).commit
    try:
        now = status(away)
    except httpx.HTTPError:
        return False  # it restores a snapshot, and answers nobody
    return now.voting and now.commit >= committed


def _until(condition: Callable[[], bool], started: float, pause: float = LOOK_EVERY) -> float:
    """Seconds from `started` until the condition holds."""
    until(condition, PATIENCE, "the upstream has not caught up", pause_s=pause)
    return time.monotonic() - started
