# SPDX-License-Identifier: Apache-2.0
"""Schedules by hand: production code holds in each, and the rule that it is for is missed when it is gone."""

from collections.abc import Iterator

import pytest

from tests.simulation.bench import Bench
from tests.simulation.invariant_checker import Violation
from tests.simulation.mutations import MUTATIONS
from tests.simulation.schedules import SCHEDULES
from tmr.ledger import RecordDenials, encode
from tmr.quorum import ledger_copy, replication
from tmr.quorum.messages import Append, Install


@pytest.fixture(autouse=True)
def short_batches_and_journals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(replication, "BATCH_ENTRIES", 1)
    monkeypatch.setattr(ledger_copy, "LOG_RETAIN_ENTRIES", 2)
    yield


@pytest.mark.parametrize("rule", SCHEDULES)
def test_production_holds(rule: str) -> None:
    SCHEDULES[rule](Bench())


@pytest.mark.parametrize("rule", SCHEDULES)
def test_the_missing_rule_is_noticed(rule: str) -> None:
    with pytest.raises(Violation):
        SCHEDULES[rule](Bench(MUTATIONS[rule]))


def test_no_snapshot_is_made_for_who_does_not_answer() -> None:
    """One that was away for longer than the active's journal reaches back is asked first, then sent it."""
    bench, active = Bench(), "tmr1"
    assert bench.elect(active, 0, 1, 2)
    bench.exchange(active, 0, 1, times=3)
    twin = bench.twins[active]
    for _ in range(5):
        twin.submit(bench.now, encode(RecordDenials(())))
        bench.exchange(active, 0, 1, times=3)
    lost = bench.sent(active, 2)
    assert lost is not None
    twin.failed(2, lost.at, lost.request)
    for _ in range(3):
        bench.wait(1.1 * twin.timing.renewal)
        twin.tick(bench.now)
        bench.exchange(active, 0, 1)
        asked = bench.sent(active, 2)
        assert asked is not None and isinstance(asked.request, Append)
        assert asked.request.entries == ()
        twin.failed(2, asked.at, asked.request)
    bench.wait(1.1 * twin.timing.renewal)
    twin.tick(bench.now)
    bench.exchange(active, 2)
    sent = bench.sent(active, 2)
    assert sent is not None and isinstance(sent.request, Install)
    bench.hand(active, sent)
    assert bench.acceptors[2].commit == sent.request.snapshot.index
