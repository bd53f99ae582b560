"""The production ledger does what a naive model does, whatever happens to it; and the comparison can fail."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.ledger.machine import Comparison, play
from tests.unit.ledger.mutations import MUTATIONS

SEEDS, STEPS = range(200), 80
"""Every mutation is found within so many."""


def test_ledger_and_model_never_differ() -> None:
    run_state_machine_as_test(Comparison, settings=settings(max_examples=250, stateful_step_count=50))


def test_the_seeds_that_find_mutations_find_nothing_else() -> None:
    for seed in SEEDS[:40]:
        play(seed, STEPS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_broken_rule_is_found(
    mutation: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation(monkeypatch)
    with pytest.raises(AssertionError):
        for seed in SEEDS:
            play(seed, STEPS)
