# SPDX-License-Identifier: Apache-2.0
"""The two clocks of a machine, read in one place so that everything below is handed its time."""

import sys
import time

if sys.platform == "linux":

    def boottime() -> float:
        """Seconds since boot, counting suspend; no administrator can set it. Leases are measured with it."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:

    def boottime() -> float:
        """Seconds on the monotonic clock: the nearest thing to CLOCK_BOOTTIME on this platform."""
        return time.monotonic()


def wall_ms() -> int:
    """The wall clock, Unix milliseconds. Anybody may set it: never measure a duration with it."""
    return time.time_ns() // 1_000_000
