# SPDX-License-Identifier: Apache-2.0
"""Processes that a command leaves behind: found, and waited for. On Linux only.

This process becomes their subreaper (prctl(2), PR_SET_CHILD_SUBREAPER): a process whose parent has ended, as
that of a daemon, becomes a child of this one, and not of process 1.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

PR_SET_CHILD_SUBREAPER: Final = 36

if sys.platform == "linux":

    def keep() -> bool:
        """Become the parent of what the command leaves behind. Gives whether that is possible here."""
        prctl = getattr(ctypes.CDLL(None), "prctl", None)
        return prctl is not None and prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

    def children() -> dict[int, str]:
        """Names of the child processes that run, by process id."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                stat = (entry / "stat").read_text(errors="replace")
            except OSError:  # it has just ended
                continue
            name, _, rest = stat.partition("(")[2].rpartition(") ")
            state, parent = rest.split()[:2]
            if int(parent) == os.getpid() and state not in "ZX":
                found[int(entry.name)] = name
        return found

    def wait_for(process: "subprocess.Popen[bytes]") -> int:
        """Wait for the process; those that were left behind and have ended meanwhile are cleared away."""
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == process.pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return process.returncode

    def wait_for_all() -> None:
        """Wait until no child process is left."""
        try:
            while True:
                os.waitpid(-1, 0)
        except ChildProcessError:
            pass

else:

    def keep() -> bool:
        """Become the parent of what the command leaves behind. Gives whether that is possible here."""
        return False

    def children() -> dict[int, str]:
        """Names of the child processes that run, by process id."""
        return {}

    def wait_for(process: "subprocess.Popen[bytes]") -> int:
        """Wait for the process."""
        return process.wait()

    def wait_for_all() -> None:
        """Wait until no child process is left."""
