# SPDX-License-Identifier: Apache-2.0
"""Run seeds, on all cores."""

import gc
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from tests.simulation.faults import Fault
from tests.simulation.names import CLIENTS
from tests.simulation.rules import Rules
from tests.simulation.world import STORM, World
from tmr.quorum import ledger_copy, replication, stored_journal
from tmr.service import liveness

Result = tuple[int, str | None, Counter[str]]
"""The seed, what went wrong if anything did, and what happened in numbers."""


def small_journals() -> None:
    """Compact early and send little at once, so that a short run meets snapshots and split batches too."""
    liveness.SLOT = 0.01  # type: ignore[misc]
    stored_journal.SNAPSHOT_EVERY = 20  # type: ignore[misc]
    stored_journal.TAIL = 5  # type: ignore[misc]
    stored_journal.SUBSCRIBED_BYTES = 1_500  # type: ignore[misc]
    ledger_copy.LOG_RETAIN_ENTRIES = 15  # type: ignore[misc]
    replication.BATCH_ENTRIES = 3  # type: ignore[misc]
    replication.BATCH_BYTES = 600  # type: ignore[misc]


def failure_of(world: World) -> str | None:
    """Run `world`; what went wrong."""
    try:
        world.run()
    except Exception as broken:  # a machine that falls over breaks a promise too
        return f"{type(broken).__name__} {broken}"
    return None


def run_seed(seed: int, rules: Rules | None = None) -> Result:
    """Run one seed."""
    gc.disable()  # nearly all of a world lives until its end: searches for cycles find nothing before
    try:
        world = World(seed, rules)
        failure = failure_of(world)
        return seed, failure, world.stats
    finally:
        gc.enable()


def run_seeds(seeds: Iterable[int], rules: Rules | None = None) -> Iterator[Result]:
    """Run many seeds."""
    with multiprocessing.get_context("spawn").Pool(initializer=small_journals) as pool:
        yield from pool.imap_unordered(partial(run_seed, rules=rules), seeds, chunksize=10)


def retell(
    seed: int,
    rules: Rules | None = None,
    faults: Sequence[Fault] | None = None,
    storm: float = STORM,
    clients: Sequence[str] = CLIENTS,
) -> tuple[World, str | None]:
    """Run again what failed, and keep its story."""
    world = World(seed, rules, faults=faults, storm=storm, clients=clients, story=True)
    return world, failure_of(world)
