# SPDX-License-Identifier: Apache-2.0
"""The production ledger does what a naive model does, whatever happens to it; and the comparison can fail."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from tests.unit.ledger.machine import Comparison, play
from tests.unit.ledger.mutations import MUTATIONS
from tests.unit.ledger.world import FIRM, START_MS
from tmr.ledger.state_digest import DamagedState
from tmr.licensing import ProductItem

SEEDS, STEPS = range(200), 80
"""Every mutation is found within so many."""


def test_ledger_and_model_never_differ() -> None:
    run_state_machine_as_test(Comparison, settings=settings(max_examples=250, stateful_step_count=50))


def test_seeded_commands_agree_too() -> None:
    for seed in range(300):
        play(seed, STEPS)


def test_an_update_finds_seats_that_fell_free_before_it() -> None:
    """Who waited has one when the next command comes, be it the update that leaves fewer seats."""
    plain = ProductItem(firm_code=FIRM, product_code=1, tmr_id=11, quantity=1, expiration_ms=None)
    more = replace(plain, quantity=2, borrow_s=600)
    soon = replace(plain, tmr_id=12, activation_ms=START_MS + 60_000)
    asked = {"client": "a", "station": "x", "user": "u", "features": 0}
    run = Comparison()
    run.start((more, soon), plain=False)
    run.borrow(product=1, seconds=100, **asked)
    for mode in ("exclusive", "user-limit"):
        run.grant(product=1, skipped=0, mode=mode, instance="", released_ms=None, units=0, wait=True, **asked)
    run.later(60_000)
    run.update((plain,))
    assert run.ledger.use(plain.key).seats == 2


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_broken_rule_is_found(
    mutation: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation(monkeypatch)
    with pytest.raises((AssertionError, DamagedState)):
        for seed in SEEDS:
            play(seed, STEPS)
