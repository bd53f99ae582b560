"""Schedules by hand: production code holds in each, and the rule that it is for is missed when it is gone."""

from collections.abc import Iterator

import pytest

from tests.simulation.bench import Bench
from tests.simulation.mutations import MUTATIONS
from tests.simulation.schedules import SCHEDULES
from tests.simulation.witness import Violation
from tmr.quorum import proposer


@pytest.fixture(autouse=True)
def short_batches_and_journals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(proposer, "BATCH_ENTRIES", 1)
    monkeypatch.setattr(proposer, "KEEP", 2)
    yield


@pytest.mark.parametrize("rule", SCHEDULES)
def test_production_holds(rule: str) -> None:
    SCHEDULES[rule](Bench())


@pytest.mark.parametrize("rule", SCHEDULES)
def test_the_missing_rule_is_noticed(rule: str) -> None:
    with pytest.raises(Violation):
        SCHEDULES[rule](Bench(MUTATIONS[rule]))
