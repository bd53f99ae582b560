# SPDX-License-Identifier: Apache-2.0
"""On what it was measured."""

from __future__ import annotations

import os
import platform
import time


def machine() -> str:
    """Processors, memory, kernel, Python and date, for people."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} processors, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )
