# SPDX-License-Identifier: Apache-2.0
"""Detection of a pause by the host: certain, or not at all."""

from hypothesis import given
from hypothesis import strategies as st

from tmr.quorum.lease import DRIFT
from tmr.quorum.pause import PauseDetector

BOUND, WINDOW = 0.5, 2.0
UPSTREAMS = ("one", "two", "three")
DELAYS = st.floats(0, 20)
ANSWERS = st.lists(
    st.tuples(st.sampled_from(UPSTREAMS), st.floats(0, 30), DELAYS, DELAYS), min_size=1, max_size=60
)


@given(ANSWERS, st.lists(st.floats(1 - DRIFT, 1 + DRIFT), min_size=4, max_size=4))
def test_no_network_and_no_drift_look_like_a_pause(
    answers: list[tuple[str, float, float, float]], rates: list[float]
) -> None:
    """However late questions and answers are, on a machine that is never paused."""
    detector, true = PauseDetector(BOUND, WINDOW), 0.0
    rate = dict(zip(UPSTREAMS, rates, strict=False))
    for name, after, there, back in answers:
        true += after
        sent, read, came = true * rates[3], (true + there) * rate[name], (true + there + back) * rates[3]
        true += there + back
        assert detector.observe(name, 1e6 + read, sent, came) == 0.0


def test_a_pause_is_seen_once_two_have_answered_after_it() -> None:
    detector = PauseDetector(BOUND, WINDOW)
    for name in UPSTREAMS:
        assert detector.observe(name, 500.0, 10.0, 10.01) == 0.0
    assert detector.observe("one", 503.1, 10.1, 10.11) == 0.0
    assert 2.8 < detector.observe("two", 503.1, 10.1, 10.12) < 3.1
    assert detector.observe("three", 503.1, 10.1, 10.13) == 0.0, "it is told of once"


def test_one_clock_that_leaps_is_a_wrong_clock() -> None:
    detector = PauseDetector(BOUND, WINDOW)
    for second in range(60):
        assert detector.observe("one", 100.0 + 50 * second, second, second + 0.01) == 0.0
        assert detector.observe("two", 500.0 + second, second, second + 0.01) == 0.0


def test_two_clocks_that_leap_at_different_times_are_no_pause() -> None:
    detector = PauseDetector(BOUND, WINDOW)
    for second in range(60):
        for leaps_at, name in enumerate(UPSTREAMS, 1):
            ahead = 100.0 if second >= 10 * leaps_at else 0.0
            assert detector.observe(name, second + ahead, second, second + 0.01) == 0.0


def test_an_answer_from_before_the_pause_hides_nothing() -> None:
    """It was read before, and comes after: the next one shows the pause."""
    detector = PauseDetector(BOUND, WINDOW)
    for name in ("one", "two"):
        detector.observe(name, 500.0, 10.0, 10.01)
        assert detector.observe(name, 500.1, 10.1, 10.2) == 0.0
    detector.observe("one", 504.3, 10.3, 10.31)
    assert detector.observe("two", 504.3, 10.3, 10.31) > BOUND


def test_a_short_pause_counts_for_nothing() -> None:
    detector = PauseDetector(BOUND, WINDOW)
    for step in range(100):
        for name in UPSTREAMS:
            reading = step + 0.4 * (step >= 50)
            assert detector.observe(name, reading, step, step + 0.01) == 0.0
