# SPDX-License-Identifier: Apache-2.0
"""Certified time, where two clocks are all that was heard at first, and one of them is wrong."""

import itertools

import pytest

from tmr.quorum.consensus_clock import ACCEPTED_MS, AGREE_MS, JUMP_MS, CertifiedClock

TRUE = 1_800_000_000_000


@pytest.mark.parametrize("wrong", [-1_400_000, 1_400_000])
def test_a_wrong_clock_heard_first_is_mended_by_the_third(wrong: int) -> None:
    clock = CertifiedClock()
    clock.begin_term()
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
        clock.begin_term()
        for number, error in enumerate(order, 1):
            clock.observe(f"up{number}", TRUE + error, 0.0)
        assert clock.read(0.0, last) == (last if leads_to is None else TRUE + leads_to)
        shown = {f"up{number}": TRUE + error for number, error in enumerate(order, 1)}
        assert clock.unconfirmed(0.0) == (shown if leads_to is None and len(errors) > 1 else {})


def test_time_goes_on_while_no_two_clocks_agree_and_steps_once_they_do() -> None:
    clock, last = CertifiedClock(), TRUE - 7_200_000
    clock.begin_term()

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


def heard(*clocks: tuple[int, bool | None]) -> CertifiedClock:
    """A term begins, and upstreams' clocks show so much beside TRUE, synchronised or not."""
    clock = CertifiedClock()
    clock.begin_term()
    for number, (error, synchronised) in enumerate(clocks, 1):
        clock.observe(f"up{number}", TRUE + error, 0.0, synchronised)
    return clock


@pytest.mark.parametrize(
    ("clocks", "believed"),
    [
        ([(0, False), (0, False), (0, False)], False),
        ([(0, None), (0, None), (0, None)], False),
        ([(0, True), (0, False), (0, False)], False),
        ([(0, True), (0, True), (0, False)], True),
        ([(0, True), (0, True)], True),
        ([(0, False), (AGREE_MS, True), (AGREE_MS, True)], True),
        ([(0, False), (0, True), (-5 * DAY, True)], False),
        ([(0, True), (0, False), (5 * DAY, True)], False),
    ],
)
def test_a_jump_waits_unless_two_clocks_that_agree_are_synchronised(
    clocks: list[tuple[int, bool | None]], believed: bool
) -> None:
    last = TRUE - 3 * DAY
    for order in itertools.permutations(clocks):
        clock = heard(*order)
        value = clock.read(0.0, last)
        if believed:
            assert value >= TRUE and clock.waits is None
        else:
            assert value == last and clock.waits == TRUE


def test_a_jump_of_a_day_needs_no_reason() -> None:
    assert heard((0, False), (0, False)).read(0.0, TRUE - JUMP_MS) == TRUE
    assert heard((0, False), (0, False)).read(0.0, TRUE - JUMP_MS - 1) == TRUE - JUMP_MS - 1


def test_a_system_without_a_journal_starts_with_what_the_clocks_show() -> None:
    """Also if the first clock that was heard is wrong by years."""
    clock = CertifiedClock()
    clock.begin_term()
    clock.observe("up1", 0, 0.0)
    clock.observe("up2", TRUE, 0.0)
    first = clock.read(0.0, 0)
    assert first == 0
    clock.observe("up3", TRUE, 0.0)
    assert clock.read(1.0, first + 1) == TRUE + 1 and clock.waits is None


def test_what_an_operator_accepts_is_what_the_clocks_show() -> None:
    last = TRUE - 3 * DAY
    clock = heard((0, False), (0, False))
    assert not clock.accept(0.0, TRUE), "nothing waits yet"
    clock.read(0.0, last)
    assert not clock.accept(0.0, TRUE + ACCEPTED_MS + 1) and not clock.accept(0.0, TRUE - ACCEPTED_MS - 1)
    assert clock.read(0.0, last) == last
    assert clock.accept(0.0, TRUE + ACCEPTED_MS)
    assert clock.read(0.0, last) == TRUE and clock.waits is None
    assert not clock.accept(0.0, TRUE), "it takes effect once"
    clock.begin_term()
    clock.read(0.0, last)
    assert clock.waits == TRUE, "it holds for this term: the journal brings it to the next"


def test_time_that_waits_goes_on_by_the_monotonic_clock() -> None:
    clock, last = heard((0, False), (0, False)), TRUE - 3 * DAY
    clock.read(0.0, last)
    for second in range(1, 101):
        clock.observe("up1", TRUE + second * 1000, second * 1000.0, False)
        clock.observe("up2", TRUE + second * 1000, second * 1000.0, False)
        assert last < clock.read(second * 1000.0, last) <= last + second * 1000
    assert clock.waits == TRUE + 100_000
    clock.observe("up1", TRUE - 3 * DAY + 101_000, 101_000.0, False)
    clock.observe("up2", TRUE - 3 * DAY + 101_000, 101_000.0, False)
    assert clock.read(101_000.0, last) == TRUE - 3 * DAY + 101_000, "set right: followed at once"
    assert clock.waits is None
