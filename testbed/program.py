# SPDX-License-Identifier: Apache-2.0
"""Programs of the testbed: their output, their signals, their exit codes."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable

from lab import host
from lab.errors import LabError
from testbed.steps import StepFailed
from tmr.client import TmrError


def say(text: str) -> None:
    """A line with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def run(name: str, work: Callable[[], int], interrupted: str = "") -> int:
    """Exit code of `work`; 2 where it could not be done, which is told; 130 when it was interrupted.

    SIGTERM interrupts, too: what was started goes.
    """
    host.prepare_environment()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return work()
    except (LabError, StepFailed, TmrError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted{interrupted}", file=sys.stderr)
        return 130
