# SPDX-License-Identifier: Apache-2.0
"""Minutes of real faults while clients work; then their records prove that every promise held."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from machines import LAB, ROOT

SEED = 1568
"""Its first faults: a lost store, a flipped bit, a freeze, a paused host, two old copies. A unit test holds
it to the kinds that destroy."""
MINUTES = "2.5"
DIRECTORY = ROOT / "build" / "chaos" / "molecule"
KINDS = 6
"""So many kinds of faults at least: on a slow machine not all of the plan's have their turn."""


@pytest.mark.timeout(900)
def test_every_promise_holds_in_minutes_of_faults() -> None:
    command = [sys.executable, "-m", "chaos", "run", "--lab", LAB, "--keep"]
    command += ["--seed", str(SEED), "--minutes", MINUTES, "--directory", str(DIRECTORY)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"

    faults = [json.loads(line) for line in (DIRECTORY / "faults.jsonl").read_text().splitlines()]
    assert len({fault["kind"] for fault in faults}) >= KINDS, done.stdout
    granted = (DIRECTORY / "operations.jsonl").read_text().count('"outcome":"granted"')
    assert granted > len(faults), "clients worked meanwhile"
