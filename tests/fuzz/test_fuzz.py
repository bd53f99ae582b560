# SPDX-License-Identifier: Apache-2.0
"""A short run of all targets from their seeds, the same each time; `make fuzz` runs as long as you like."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import runner

RUNS = 8_000


@pytest.mark.parametrize("name", runner.NAMES)
def test_valid_documents_hold(name: str) -> None:
    """What the runs begin with breaks nothing."""
    target = runner.load(name, instrumented=False)
    assert len(target.SEEDS) >= 2
    for seed in target.SEEDS:
        target.check(seed)


def test_only_the_documented_exceptions_come_out(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--runs", str(RUNS), "--corpus", str(tmp_path)]
    there = {**os.environ, "TMPDIR": str(tmp_path)}  # libFuzzer ends the process, which tidies up nothing
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, env=there)
    found = [str(path) for path in (tmp_path / "findings").iterdir()]
    assert (done.returncode, found) == (0, []), done.stderr[-4000:]
    assert f"Done {RUNS} runs" in done.stderr
    covered = re.search(r"DONE +cov: (\d+)", done.stderr)
    assert covered is not None
    assert int(covered[1]) > 1_000, "the code behind the signatures is reached"
