# SPDX-License-Identifier: Apache-2.0
"""Wait for a condition, never for a number of seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

from lab.errors import LabError


def until(
    condition: Callable[[], bool],
    timeout_s: float,
    failure: str,
    error: type[LabError] = LabError,
    *,
    pause_s: float = 0.01,
) -> None:
    """Return as soon as `condition` holds; raise `error` with `failure` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise error(f"{failure} (waited {timeout_s:.0f} s)")
        time.sleep(pause_s)
