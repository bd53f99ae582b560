# SPDX-License-Identifier: Apache-2.0
"""See the package."""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import runner

CACHE = Path(__file__).parents[2] / ".cache" / "fuzz"


def main() -> int:
    """The command; exit status 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(runner.NAMES)}")
    parser.add_argument("--seconds", type=int, default=600, help="in all")
    parser.add_argument("--runs", type=int, help="all targets at once, from their seeds alone, so many runs")
    parser.add_argument("--seed", type=int, default=1, help="with --runs")
    parser.add_argument("--corpus", type=Path, default=CACHE, help="what was found worth keeping")
    parser.add_argument("--replay", type=Path, help="a file that a run has found")
    given = parser.parse_args()
    unknown = sorted(set(given.targets) - set(runner.NAMES))
    if unknown:
        parser.error(f"no target {unknown[0]}; there are {', '.join(runner.NAMES)}")
    names = given.targets or runner.NAMES
    if given.replay is not None:
        for name in names:
            runner.load(name, instrumented=False).check(given.replay.read_bytes())
        return 0
    if given.runs is not None:
        check, targets = runner.every()
        for number, target in enumerate(targets):
            runner.sow(target, given.corpus / "all", bytes([number]))
        runner.fuzz(
            check,
            given.corpus / "all",
            given.corpus / "findings",
            f"-runs={given.runs}",
            f"-seed={given.seed}",
        )
    if len(names) == 1:
        target = runner.load(names[0])
        runner.sow(target, given.corpus / names[0])
        findings = given.corpus / "findings" / names[0]
        runner.fuzz(target.check, given.corpus / names[0], findings, f"-max_total_time={given.seconds}")
    return max([_in_a_process(name, given.seconds // len(names), given.corpus) for name in names])


def _in_a_process(name: str, seconds: int, corpus: Path) -> int:
    """libFuzzer ends its process, which tidies up nothing; and what is instrumented cannot be taken back."""
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(seconds), "--corpus", str(corpus), name]
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(command, env={**os.environ, "TMPDIR": directory}, check=False)
    return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
