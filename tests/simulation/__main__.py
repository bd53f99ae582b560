# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.simulation SEED…` replays seeds, `--shrink` makes their failures small and tells the
story.

`--seconds N` runs new seeds for so long, says each minute how far it is, and appends the story of each
failure to a file. `--without RULE` takes one rule of the protocol away, as `mutations.py` names it.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

from tests.simulation.mutations import MUTATIONS
from tests.simulation.rules import Rules
from tests.simulation.run import retell, run_seed, run_seeds, small_journals
from tests.simulation.shrink import shrink, story

SAY_EVERY = 60.0
"""Seconds."""


def soak(seconds: float, first: int, stories: Path, rules: Rules | None = None) -> int:
    """Run seeds from `first` on; the number of those that failed. Their stories are added to the file
    `stories`.
    """
    start = said = time.monotonic()
    count, bad = 0, 0
    for seed, failure, _ in run_seeds(itertools.count(first), rules):
        count += 1
        if failure is not None:
            bad += 1
            print(f"seed {seed}: {failure}", flush=True)
            with stories.open("a", encoding="utf-8") as file:
                file.write(story(shrink(seed, rules), rules) + "\n\n")
            print(f"its story is in {stories}", flush=True)
        now = time.monotonic()
        if now - said >= SAY_EVERY:
            said = now
            print(f"{(now - start) / 60:.0f} min: {count} seeds, {bad} failed", flush=True)
        if now - start > seconds:
            break
    print(f"{count} seeds from {first}, {bad} failed")
    return bad


def main() -> int:
    """Exit code 1 if a seed broke a promise."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("seeds", nargs="*", type=int, metavar="SEED")
    parser.add_argument("--shrink", action="store_true", help="find a smaller run that fails, and tell it")
    parser.add_argument("--story", action="store_true", help="tell every message")
    parser.add_argument("--without", metavar="RULE", choices=sorted(MUTATIONS))
    parser.add_argument("--seconds", type=float, metavar="N", help="new seeds for so long")
    parser.add_argument("--stories", type=Path, default=Path("soak-failures.txt"), metavar="FILE")
    given = parser.parse_args()
    small_journals()
    rules = MUTATIONS[given.without] if given.without else None
    bad = 0
    for seed in given.seeds:
        _, failure, stats = run_seed(seed, rules)
        print(seed, failure or "holds", dict(stats))
        bad += failure is not None
        if given.story:
            world, _ = retell(seed, rules)
            print("\n".join(world.story or []))
        if given.shrink and failure is not None:
            print(story(shrink(seed, rules), rules))
    if given.seconds:
        bad += soak(given.seconds, int(time.time()) * 1000, given.stories, rules)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
