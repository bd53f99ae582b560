# SPDX-License-Identifier: Apache-2.0
"""Clocks of one process: the wall clock jumps when its file says so, the steady ones stand still."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import clocks

PROGRAM = """
import os, pathlib, sys, time
offset = pathlib.Path(sys.argv[1])
def look():
    real = time.clock_gettime(time.CLOCK_REALTIME)
    return round(time.time() - real), round(time.time_ns() / 1e9 - real)
before = look(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)
offset.with_suffix(".new").write_text("-86400")
offset.with_suffix(".new").replace(offset)
after = look(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)
offset.write_text("nonsense")
print(*before[0], *after[0], *look(), after[1] - before[1] < 60, after[2] - before[2] < 60)
"""


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """Directory with the module as an upstream has it."""
    shutil.copy(clocks.__file__, tmp_path / "sitecustomize.py")
    return tmp_path


def test_the_clock_is_off_by_what_the_file_says(clock: Path) -> None:
    (clock / "offset").write_text("600\n")
    command = [sys.executable, "-c", PROGRAM, str(clock / "offset")]
    done = subprocess.run(command, env={"PYTHONPATH": str(clock)}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["600", "600", "-86400", "-86400", "-86400", "-86400", "True", "True"]
    assert not done.stderr


PAUSED = """
import pathlib, sys, time
lag = pathlib.Path(sys.argv[1])
STEADY = (
    time.monotonic_ns,
    lambda: time.monotonic() * 1e9,
    lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    lambda: time.clock_gettime(time.CLOCK_MONOTONIC) * 1e9,
)
def look():
    return [clock() for clock in STEADY], time.time_ns(), time.clock_gettime_ns(time.CLOCK_REALTIME)
steady, wall, real = look()
lag.write_text("4000000000000")
after, later, truly = look()
print(*(round((now - then) / 1e12) for then, now in zip(steady, after)))
print(later - wall < 6e10, truly - real < 6e10)
"""


def test_the_steady_clocks_stand_still_for_what_the_file_says(clock: Path) -> None:
    command = [sys.executable, "-c", PAUSED, str(clock / "lag")]
    done = subprocess.run(command, env={"PYTHONPATH": str(clock)}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["-4", "-4", "-4", "-4", "True", "True"]
    assert not done.stderr
