# SPDX-License-Identifier: Apache-2.0
"""The view of the front network, from times at which traffic was heard."""

import itertools

import pytest

from tmr.vip.front import (
    ANSWERED_NS,
    HEARD_NS,
    NOTHING,
    PROBE_EVERY_NS,
    TARGET,
    TRAFFIC,
    FrontWatch,
)

T0 = 1_000_000_000_000


@pytest.mark.parametrize(
    ("answer", "after", "view"),
    [
        (True, 0, TARGET),
        (True, ANSWERED_NS - 1, TARGET),
        (True, ANSWERED_NS, TRAFFIC),
        (True, HEARD_NS - 1, TRAFFIC),
        (True, HEARD_NS, NOTHING),
        (False, 0, TRAFFIC),
        (False, HEARD_NS - 1, TRAFFIC),
        (False, HEARD_NS, NOTHING),
    ],
)
def test_view_follows_from_what_was_heard_last(answer: bool, after: int, view: int) -> None:
    watch = FrontWatch(T0)
    assert watch.view(T0) == NOTHING
    watch.heard(T0, answer=answer)
    assert watch.view(T0 + after) == view


def test_traffic_does_not_stand_for_an_answer() -> None:
    watch = FrontWatch(T0)
    watch.heard(T0, answer=True)
    watch.heard(T0 + ANSWERED_NS, answer=False)
    assert watch.view(T0 + ANSWERED_NS) == TRAFFIC


def test_targets_are_asked_at_once_and_then_at_intervals() -> None:
    watch = FrontWatch(T0)
    asked = [now for now in range(T0, T0 + 2_000_000_000, 10_000_000) if watch.probe_due(now)]
    assert asked[0] == T0
    assert {later - earlier for earlier, later in itertools.pairwise(asked)} == {PROBE_EVERY_NS}
