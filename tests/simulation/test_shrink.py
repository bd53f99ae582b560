# SPDX-License-Identifier: Apache-2.0
"""A failing run is made small, and its story is told."""

from collections.abc import Sequence

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.run import failure_of, run_seed
from tests.simulation.shrink import ddmin, shrink, story
from tests.simulation.world import STORM, World

RULE = "answer before commitment"


def test_delta_debugging_finds_what_is_needed() -> None:
    def fails(some: Sequence[int]) -> bool:
        return {3, 17, 18} <= set(some)

    assert ddmin(range(40), fails) == [3, 17, 18]
    assert ddmin(range(40), lambda _: True) == []
    assert ddmin([5], lambda some: 5 in some) == [5]


@pytest.mark.timeout(600)
def test_a_failing_run_becomes_small_and_still_fails() -> None:
    rules = MUTATIONS[RULE]
    seed = next(seed for seed in range(100_000, 100_200) if run_seed(seed, rules)[1] is not None)
    whole = World(seed, rules)
    assert failure_of(whole) is not None
    small = shrink(seed, rules, runs=160)
    assert len(small.faults) < len(whole.nemesis.made) / 2
    assert small.storm < STORM
    told = story(small, rules)
    assert told.startswith(f"seed {seed}: {small.failure}")
    assert f"{len(small.faults)} faults are enough" in told
    assert "tmr1 to up1: " in told or "tmr2 to up1: " in told


def test_a_seed_that_holds_is_not_shrunk() -> None:
    with pytest.raises(ValueError, match="seed 7 does not fail"):
        shrink(7)
