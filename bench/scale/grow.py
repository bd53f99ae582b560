"""Makes a journal long, whatever the system does meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.load.hold import Churned, Hold
from bench.scale.loads import Load
from bench.scale.plan import Plan
from bench.scale.system import System

TRIES = 5
TTL = 600


def commit(found: System, plan: Plan, commands: int, tell: Callable[[str], None]) -> float:
    """Have at least so many commands committed, nothing held afterwards; seconds that it took.

    Where the active twin changes, the new one gets all of them again. Raises RuntimeError after TRIES.
    """
    began = time.monotonic()
    for tries in range(TRIES):
        active = found.machines.active().name
        wanted = Hold(found.target("alice"), 0, TTL, churn=commands)
        with Load("tmr-hold", plan.lanes, plan.patience, wanted) as load:
            try:
                load.hear(Churned)
                break
            except RuntimeError:
                if tries == TRIES - 1:
                    raise
                tell(f"{active} no longer serves: once more")
    return time.monotonic() - began
