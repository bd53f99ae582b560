# SPDX-License-Identifier: Apache-2.0
"""The steady clock: never faster than two upstreams' clocks, and the own one where that is right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.quorum.lease import DRIFT
from tmr.quorum.steady_clock import FAST, SteadyClock

NEAR = 0.01
"""Seconds that a question, and its answer, take."""


def run(rate: float, seconds: float, rates: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> SteadyClock:
    """A twin's clock goes at `rate`, those of the upstreams at `rates`; each is asked every 0.1 s."""
    clock = SteadyClock()
    for step in range(round(seconds * 10) + 1):
        for slot, theirs in enumerate(rates):
            true = step / 10
            answer(clock, slot, 500 + true * theirs, true * rate, rate)
    return clock


def answer(clock: SteadyClock, slot: int, reading: float, sent_at: float, rate: float = 1.0) -> None:
    clock.observe(slot, reading, sent_at, sent_at + 2 * NEAR * rate)


@pytest.mark.parametrize("rate", [1 - DRIFT, 1.0, 1.5, 10.0])
def test_it_goes_no_faster_than_the_median(rate: float) -> None:
    clock = run(rate, 60)
    assert clock.read(60 * rate) == pytest.approx(60 * min(1.0, rate), abs=2 * NEAR * rate + 0.01)
    assert clock.proven(60 * rate) == clock.read(60 * rate)


@pytest.mark.parametrize("wrong", [0.1, 5.0])
def test_one_wrong_clock_changes_nothing(wrong: float) -> None:
    assert run(1.0, 60, (1.0, wrong, 1.0)).ahead == 0.0
    assert run(2.0, 60, (1.0, wrong, 1.0)).read(120) == pytest.approx(60, abs=0.2)


def test_two_that_start_again_prove_nothing() -> None:
    """Their clocks begin anew, with less than they showed before."""
    clock = run(1.0, 60)
    for step in range(600, 660):
        for slot in range(3):
            answer(clock, slot, step / 10 - (55 if slot else -500), step / 10)
    assert clock.ahead == 0.0


def test_an_answer_to_an_older_question_proves_nothing() -> None:
    """The twin's host paused it since: that question was sent when its clock was further ahead."""
    clock = run(1.0, 5)
    for slot in range(3):
        answer(clock, slot, 520.0, 6.0)
        answer(clock, slot, 505.2, 5.2)
    assert clock.ahead == 0.0


def test_nothing_is_borne_out_since_the_last_answers_of_two() -> None:
    clock = run(1.0, 5)
    answer(clock, 0, 530.0, 30.0)
    assert clock.proven(31.0) == 5.0
    answer(clock, 2, 530.0, 30.5)
    assert clock.proven(31.0) == 30.0
    alone = SteadyClock()
    assert alone.proven(7.0) == 7.0, "a server that is alone has no other clock"
    answer(alone, 1, 500.0, 8.0)
    assert alone.proven(9.0) < 0


def test_a_fast_clock_is_told_and_drift_is_not() -> None:
    assert run(1 + DRIFT, 300, (1 - DRIFT, 1 - DRIFT, 1.0)).fast_by == 0.0
    fast = run(1.5, 60)
    assert fast.fast_by > FAST
    assert 85 < fast.fast_at <= 91


@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 5), st.floats(0, 3), st.floats(0, 3)), max_size=60),
    st.lists(st.floats(1 - DRIFT, 1 + DRIFT), min_size=3, max_size=3),
)
def test_it_is_never_slower_than_the_slowest_clock(
    answers: list[tuple[int, float, float, float]], rates: list[float]
) -> None:
    """However late questions and answers are: where all clocks are right within drift, it is, too."""
    clock, true = SteadyClock(), 0.0
    for slot, after, there, back in answers:
        true += after
        clock.observe(slot, (true + there) * rates[slot], true, true + there + back)
        true += there + back
    assert clock.read(true) >= true * (1 - DRIFT) - 1e-6
