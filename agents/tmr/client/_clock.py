# SPDX-License-Identifier: Apache-2.0
"""The clock by which a client counts times to live. It goes on while the machine is suspended."""

import sys
import time
from typing import Final

LONGEST_WAIT: Final = 2.0
"""Seconds that a wait for the next heartbeat lasts at most. Timers stand still while a machine is suspended:
the first look at the clock after that says that heartbeats are overdue."""

if sys.platform == "linux":

    def elapsed() -> float:
        """Seconds since boot, with those in suspend."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

elif sys.platform == "darwin":

    def elapsed() -> float:
        """Seconds since boot, with those asleep, which `time.monotonic` leaves out there."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

else:

    def elapsed() -> float:
        """Seconds on the monotonic clock, which goes on during sleep on Windows."""
        return time.monotonic()
