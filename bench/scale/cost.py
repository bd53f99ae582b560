# SPDX-License-Identifier: Apache-2.0
"""The cost of a checkout with little held, and with much: both systems run, and are asked in turn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench.measure import Run, measure
from bench.scale.grow import fill
from bench.scale.plan import Plan
from bench.scale.system import System, system


class Size(msgspec.Struct):
    """A system, and the rounds that were measured on it. Seconds for making it as large as it is."""

    sessions: int
    licences: int
    assembled: float
    opened: float
    runs: list[Run] = []


class Cost(msgspec.Struct):
    """The two sizes."""

    clients: int
    small: Size
    large: Size


def run(plan: Plan, directory: Path, tell: Callable[[str], None]) -> Cost:
    """Measure both in turn."""
    with ExitStack() as stack:

        def grown(name: str, sessions: int, licences: int) -> tuple[System, Size]:
            found = stack.enter_context(system(directory / name, 0))
            assembled = found.issue(licences)
            opened = fill(found, sessions, plan)
            tell(
                f"{name}: {licences:,} licences in {assembled:.1f} s, {sessions:,} sessions in {opened:.1f} s"
            )
            return found, Size(sessions, licences, assembled, opened)

        small = grown("small", plan.few_sessions, plan.few_licences)
        large = grown("large", plan.sessions, plan.licences)
        for number in range(plan.rounds):
            for name, (peer, size) in (("small", small), ("large", large)):
                found = measure("checkout", peer, plan.clients, plan.seconds, plan.seconds / 4, number)
                size.runs.append(found)
                tell(f"round {number + 1} {name} {found.line}")
        return Cost(plan.clients, small[1], large[1])
