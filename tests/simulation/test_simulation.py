"""Promises 1 to 3 under 2,000 seeds of faults; and protocols with a rule missing, which must be caught.

A failing seed replays exactly: `python -m tests.simulation SEED`.
"""

import multiprocessing
from collections import Counter

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.run import run_seed, run_seeds, small_journals
from tests.simulation.world import World

SEEDS = 2_000
ENOUGH = 6_000
"""Seeds after which a mutation counts as not caught; most are within a hundred."""


@pytest.mark.timeout(1200)
def test_promises_hold_under_seeded_faults() -> None:
    broken: dict[int, str] = {}
    happened: Counter[str] = Counter()
    for seed, failure, stats in run_seeds(range(SEEDS)):
        happened += stats
        if failure is not None:
            broken[seed] = failure
    print(f"\n{SEEDS} seeds: " + ", ".join(f"{count} {what}" for what, count in sorted(happened.items())))
    assert not broken, f"{len(broken)} of {SEEDS} seeds, first: {min(broken.items())}"
    # A storm that never blew proves nothing.
    for what in (
        "crashes",
        "partitions",
        "pauses",
        "wipes",
        "old copies",
        "clock jumps",
        "expiries",
        "reigns",
    ):
        assert happened[what] > SEEDS / 10, happened


def test_a_seed_replays_exactly() -> None:
    def history(seed: int) -> list[object]:
        world = World(seed)
        world.run()
        return [world.stats, world.witness.journal, [client.history for client in world.clients.values()]]

    assert history(7) == history(7)


def first_caught(name: str) -> tuple[str, int | None, str | None]:
    """The first seed in which the mutation breaks a promise."""
    for seed in range(100_000, 100_000 + ENOUGH):
        _, failure, _ = run_seed(seed, MUTATIONS[name])
        if failure is not None:
            return name, seed, failure
    return name, None, None


@pytest.mark.timeout(1200)
def test_every_missing_rule_is_noticed() -> None:
    with multiprocessing.get_context("spawn").Pool(initializer=small_journals) as pool:
        caught = list(pool.imap_unordered(first_caught, MUTATIONS))
    for name, seed, failure in caught:
        print(f"{name}: " + (f"seed {seed}: {(failure or '')[:110]}" if seed else "NOT CAUGHT"))
    assert not [name for name, seed, _ in caught if seed is None]
