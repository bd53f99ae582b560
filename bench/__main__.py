# SPDX-License-Identifier: Apache-2.0
"""`python -m bench WHAT`: measurements, and their reports into `build/bench`.

`--short`: to see that it works, not to judge.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from bench import fairness, throughput
from bench.deployed import conduct
from bench.scale import cases
from testbed import program

Run = Callable[[argparse.Namespace, Callable[[str], None]], int]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="what", metavar="WHAT", required=True)

    def command(name: str, does: str, run: Run, rounds: int = 5, seconds: float = 6.0) -> None:
        sub = commands.add_parser(name, help=does, description=does)
        sub.set_defaults(run=run)
        sub.add_argument("--short", action="store_true", help="to see that it works, not to judge")
        sub.add_argument("--out", type=Path, default=Path("build/bench"))
        sub.add_argument("--rounds", type=int, default=rounds)
        sub.add_argument("--seconds", type=float, default=seconds, help="of each measurement")
        if options := {"peers": throughput.add_options, "scale": cases.add_options}.get(name):
            options(sub)

    command("peers", "throughput and latency beside etcd and Redis, in alternation", throughput.run)
    command("scale", "what depends on size; cases measured earlier stay in the report", cases.run)
    command("deployed", "the loss of a machine, beside keepalived on a lab of its own (root)", conduct.run)
    command("fairness", "what one client's flood does to its neighbour", fairness.run, seconds=20.0)
    return parser


def main() -> int:
    """Exit status: 0 everything was measured; 1 something was not; 2 it ended early; 130 interrupted."""
    options = _parser().parse_args()
    run: Run = options.run
    return program.run("bench", lambda: run(options, program.say))


if __name__ == "__main__":
    sys.exit(main())
