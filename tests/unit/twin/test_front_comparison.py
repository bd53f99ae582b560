# SPDX-License-Identifier: Apache-2.0
"""Handover of a twin because of the front network."""

import itertools
from pathlib import Path

import pytest

from tests.support.tmr_system import running, scenario, until
from tmr.twin.front_comparison import (
    NOTHING,
    PATIENCE,
    PAUSE,
    TARGET,
    TRAFFIC,
    UNABLE,
    UNKNOWN,
    FrontComparison,
)


@pytest.mark.parametrize(
    ("own", "other", "hands_over"),
    [
        (NOTHING, TARGET, True),
        (NOTHING, TRAFFIC, True),
        (TRAFFIC, TARGET, True),
        (NOTHING, NOTHING, False),
        (NOTHING, UNKNOWN, False),
        (NOTHING, UNABLE, False),
        (TRAFFIC, TRAFFIC, False),
        (TRAFFIC, NOTHING, False),
        (TARGET, TARGET, False),
        (TARGET, UNKNOWN, False),
        (UNKNOWN, TARGET, False),
        (UNABLE, TARGET, False),
    ],
)
def test_only_who_sees_less_than_the_other_hands_over(own: int, other: int, hands_over: bool) -> None:
    front = FrontComparison()
    assert not front.hand_over(100.0, own, other), "not at once"
    assert front.hand_over(100.0 + PATIENCE, own, other) is hands_over


def test_a_difference_that_passes_counts_from_its_beginning() -> None:
    front = FrontComparison()
    for at in range(10):
        now = 100.0 + at * PATIENCE
        assert not front.hand_over(now, TRAFFIC, TARGET)
        assert not front.hand_over(now + PATIENCE - 0.1, TRAFFIC, TARGET)
        assert not front.hand_over(now + PATIENCE - 0.05, TARGET, TARGET)


def test_hand_overs_are_far_apart() -> None:
    front, now, at = FrontComparison(), 100.0, []
    while now < 100.0 + 3 * PAUSE:
        if front.hand_over(now, NOTHING, TARGET):
            at.append(now)
        now += 0.25
    assert len(at) == 3
    assert all(later - earlier >= PAUSE for earlier, later in itertools.pairwise(at))


@scenario
async def test_the_twin_that_sees_the_front_takes_over(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        first, second = system.active, system.passive
        await until(lambda: first.vip.epoch is not None, "the address is held")
        first.vip.report(event="front", view=NOTHING)
        await until(lambda: any("front network" in one for one in first.agent.status().alarms), "the alarm")
        assert first.serves, "nothing is known of the other one"
        second.vip.report(event="front", view=TARGET)
        await until(lambda: second.serves, "the other twin takes over")
        assert first.vip.commands[-1]["op"] == "drop"
