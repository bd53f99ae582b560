# SPDX-License-Identifier: Apache-2.0
"""Run a program of the host to its end."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.errors import LabError


def run(
    *arguments: str | Path, text: str | None = None, check: bool = True, timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `arguments` with `text` on standard input; both outputs are captured.

    Raises LabError with the program's own words when it is missing, or fails while `check` is set; or when
    it takes longer than `timeout_s`.
    """
    command = [str(argument) for argument in arguments]
    try:
        done = subprocess.run(
            command, input=text, text=True, capture_output=True, check=False, timeout=timeout_s
        )
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed: run `python3 -m lab setup`") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(command)}` takes longer than {timeout_s} s") from error
    if check and done.returncode:
        said = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
        raise LabError(f"`{' '.join(command)}` failed: {said}")
    return done
