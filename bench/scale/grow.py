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
    """Have about so many commands committed, nothing held afterwards; seconds that it took.

    Where the active twin changes, the rest goes to the new one. Raises RuntimeError after TRIES changes.
    """
    began, goal = time.monotonic(), found.commit() + commands
    for tries in range(TRIES):
        rest = goal - found.commit()
        if rest <= 0:
            break
        active = found.machines.active().name
        wanted = Hold(found.target("alice"), 0, TTL, churn=rest)
        with Load("tmr-hold", plan.lanes, plan.patience, wanted) as load:
            try:
                load.hear(Churned)
                break
            except RuntimeError:
                if tries == TRIES - 1:
                    raise
                tell(f"{active} no longer serves; {goal - found.commit():,} commands are left")
    return time.monotonic() - began
