"""`python -m tests.simulation SEED…` replays seeds; `--seconds N` runs new ones for so long."""

import argparse
import itertools
import sys
import time

from tests.simulation.run import run_seed, run_seeds, small_journals


def main() -> int:
    """Exit code 1 if a seed broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int)
    parser.add_argument("--seconds", type=float)
    given = parser.parse_args()
    small_journals()
    bad = 0
    for seed in given.seeds:
        _, failure, stats = run_seed(seed)
        print(seed, failure or "holds", dict(stats))
        bad += failure is not None
    if given.seconds:
        end, count = time.monotonic() + given.seconds, 0
        for seed, failure, _ in run_seeds(itertools.count(int(time.time()) * 1000)):
            count += 1
            if failure is not None:
                print(seed, failure, flush=True)
                bad += 1
            if time.monotonic() > end:
                break
        print(f"{count} seeds, {bad} broken")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
