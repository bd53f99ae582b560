"""Certified time, where two clocks are all that was heard at first, and one of them is wrong."""

import itertools

import pytest

from tmr.quorum.certified import AGREE_MS, CertifiedClock

TRUE = 1_800_000_000_000


@pytest.mark.parametrize("wrong", [-1_400_000, 1_400_000])
def test_a_wrong_clock_heard_first_is_mended_by_the_third(wrong: int) -> None:
    clock = CertifiedClock()
    clock.begin_reign()
    clock.observe("up1", TRUE, 0.0)
    clock.observe("up2", TRUE + wrong, 0.0)
    assert clock.read(0.0, 0) == TRUE + min(0, wrong), (
        "of two that disagree the earlier: nothing ends too soon"
    )
    clock.observe("up3", TRUE + 100, 100.0)
    assert clock.read(100.0, 0) == TRUE + 100


DAY = 86_400_000


@pytest.mark.parametrize(
    ("errors", "leads_to"),
    [
        ((0, 0, 365 * DAY), 0),
        ((0, 365 * DAY, 390 * DAY), None),
        ((-390 * DAY, -365 * DAY, 0), None),
        ((-DAY, 0, DAY), None),
        ((0, AGREE_MS, 365 * DAY), AGREE_MS),
        ((0, AGREE_MS + 1, 365 * DAY), None),
        ((-365 * DAY, 0, AGREE_MS), 0),
        ((-365 * DAY, 0, AGREE_MS + 1), None),
        ((-AGREE_MS, 0, AGREE_MS), 0),
        ((0, AGREE_MS), 0),
        ((0, AGREE_MS + 1), None),
        ((365 * DAY,), None),
        ((), None),
    ],
)
def test_a_clock_counts_only_if_another_one_confirms_it(
    errors: tuple[int, ...], leads_to: int | None
) -> None:
    """The time of the last entry is two hours before."""
    last = TRUE - 7_200_000
    for order in itertools.permutations(errors):
        clock = CertifiedClock()
        clock.begin_reign()
        for number, error in enumerate(order, 1):
            clock.observe(f"up{number}", TRUE + error, 0.0)
        assert clock.read(0.0, last) == (last if leads_to is None else TRUE + leads_to)
        shown = {f"up{number}": TRUE + error for number, error in enumerate(order, 1)}
        assert clock.unconfirmed(0.0) == (shown if leads_to is None and len(errors) > 1 else {})


def test_time_goes_on_while_no_two_clocks_agree_and_steps_once_they_do() -> None:
    clock, last = CertifiedClock(), TRUE - 7_200_000
    clock.begin_reign()

    def at(seconds: int, *errors: int) -> int:
        for number, error in enumerate(errors, 1):
            clock.observe(f"up{number}", TRUE + error + seconds * 1000, seconds * 1000.0)
        return clock.read(seconds * 1000.0, last)

    at(0, 0, 365 * DAY, 390 * DAY)
    assert 97_000 < at(100, 0, 365 * DAY, 390 * DAY) - last <= 100_000
    assert at(101, 0, 100, 390 * DAY) == TRUE + 101_000 + 100
    after = at(102, 0, 365 * DAY, 390 * DAY)
    assert 900 < after - (TRUE + 101_100) <= 1_000, "by the monotonic clock, from where time is"
    assert clock.unconfirmed(102_000.0).keys() == {"up1", "up2", "up3"}
