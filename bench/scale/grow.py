# SPDX-License-Identifier: Apache-2.0
"""Makes a system large: sessions held, and a long journal, whatever the system does meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.load.job import Churned, Job, Opened
from bench.load.process import Load
from bench.scale.plan import Plan
from bench.scale.system import System

TRIES = 5
TTL = 3600
"""Of sessions held: nothing need be heard of them while others are measured."""


def fill(found: System, sessions: int, plan: Plan) -> float:
    """Open so many sessions, which stay; seconds that it took."""
    target = found.target("alice")
    with Load(Job("hold", target, plan.lanes, plan.patience, sessions=sessions, ttl=TTL)) as load:
        load.hear(Churned)
        return load.hear(Opened).seconds


def commit(found: System, plan: Plan, commands: int, tell: Callable[[str], None]) -> float:
    """Have at least so many commands committed, nothing held afterwards; seconds that it took.

    Where the active twin changes, the new one gets all of them again. Raises RuntimeError after TRIES.
    """
    began = time.monotonic()
    for tries in range(TRIES):
        active = found.machines.active().name
        job = Job("hold", found.target("alice"), plan.lanes, plan.patience, churn=commands)
        with Load(job) as load:
            try:
                load.hear(Churned)
                break
            except RuntimeError:
                if tries == TRIES - 1:
                    raise
                tell(f"{active} no longer serves: once more")
    return time.monotonic() - began
