"""Run seeds, on all cores."""

import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator

from tests.simulation.rules import Rules
from tests.simulation.world import World
from tmr.quorum import acceptor, proposer


def small_journals() -> None:
    """Compact early, so that a short run meets snapshots too."""
    acceptor.SNAPSHOT_EVERY = 20  # type: ignore[misc]
    proposer.KEEP = 15  # type: ignore[misc]


def run_seed(seed: int, rules: Rules | None = None) -> tuple[int, str | None, Counter[str]]:
    """The seed, what went wrong if anything did, and what happened in numbers."""
    world = World(seed, rules)
    try:
        world.run()
    except Exception as broken:  # a machine that falls over breaks a promise too
        return seed, f"{type(broken).__name__} {broken}", world.stats
    return seed, None, world.stats


def run_seeds(seeds: Iterable[int]) -> Iterator[tuple[int, str | None, Counter[str]]]:
    """Run production code over many seeds."""
    with multiprocessing.get_context("spawn").Pool(initializer=small_journals) as pool:
        yield from pool.imap_unordered(run_seed, seeds, chunksize=10)
