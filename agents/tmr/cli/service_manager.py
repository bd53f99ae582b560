# SPDX-License-Identifier: Apache-2.0
"""Service manager that started this process: which processes it signals to end a service."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

MAIN_PROCESS: Final = "SYSTEMD_EXEC_PID"
"""Environment variable in which systemd tells the main process of a service its process id."""
CGROUP = Path("/proc/self/cgroup")
_PATIENCE: Final = 5.0
"""Seconds for systemctl to answer."""


def signals_all() -> bool:
    """Tells whether this is the main process of a systemd service with KillMode=control-group.

    To stop it, systemd sends SIGTERM to all its processes at once. Where that cannot be found out, it does
    not.
    """
    if os.environ.get(MAIN_PROCESS) != str(os.getpid()):
        return False
    systemctl = shutil.which("systemctl")
    path = _cgroup()
    unit = next((part for part in reversed(path.split("/")) if part.endswith((".service", ".scope"))), "")
    if systemctl is None or not unit:
        return False
    manager = ["--user"] if "/user@" in path else []
    asked = [systemctl, *manager, "show", "--property=KillMode", "--value", "--", unit]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.stdout.strip() == "control-group"


def _cgroup() -> str:
    """Path of this process in the unified hierarchy, or empty."""
    try:
        lines = CGROUP.read_text().splitlines()
    except OSError:
        return ""
    return next((line[3:] for line in lines if line.startswith("0::")), "")
