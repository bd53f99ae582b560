# SPDX-License-Identifier: Apache-2.0
"""The clock of a server that has no other to compare with."""

import functools

from hypothesis import given
from hypothesis import strategies as st

from tmr.quorum.consensus_clock import ACCEPTED_MS, ALARM_MS, JUMP_MS, STEP, OwnClock

STEPS = st.lists(st.tuples(st.integers(0, 60_000), st.integers(-(10**9), 10**9)), min_size=1, max_size=40)


@given(STEPS, st.integers(0, 2 * 10**12))
def test_time_never_goes_back_and_never_stands(steps: list[tuple[int, int]], floor: int) -> None:
    clock, now, wall, last = OwnClock(), 0, 10**12, floor
    first = True
    for elapsed, set_by in steps:
        now += elapsed
        wall = max(0, wall + elapsed + set_by)
        value = clock.read(wall, float(now), floor, lambda: True)
        assert value >= max(wall, last, floor)
        if not first:
            assert value >= last + int(elapsed * (1 - STEP)) - 1
        assert value <= max(wall, last + elapsed + 1, floor)
        first, last = False, value


def test_a_right_clock_is_followed_exactly() -> None:
    clock = OwnClock()
    begin = 10**12
    assert [clock.read(begin + t, float(t), 0) - begin for t in (0, 10, 5_000)] == [0, 10, 5_000]
    assert clock.behind_ms(begin + 5_000) == 0


def test_a_clock_set_back_is_told_until_time_has_met_it() -> None:
    clock = OwnClock()
    clock.read(10**12, 0.0, 0)
    back = 10 * ALARM_MS
    clock.read(10**12 - back, 0.0, 0)
    assert clock.behind_ms(10**12 - back) == back
    met = round(back / STEP)
    assert clock.read(10**12 - back + met, float(met), 0) == 10**12 - back + met
    assert clock.behind_ms(10**12 - back + met) == 0


def test_the_journal_is_the_floor_after_a_restart() -> None:
    assert OwnClock().read(1_000, 0.0, 5_000) == 5_000


@given(STEPS, st.integers(1, 2 * 10**12))
def test_a_clock_that_no_time_source_keeps_leaps_by_a_day_at_most(
    steps: list[tuple[int, int]], floor: int
) -> None:
    clock, now, wall, last = OwnClock(), 0, floor, floor
    for elapsed, set_by in steps:
        now += elapsed
        wall = max(0, wall + elapsed + set_by)
        value = clock.read(wall, float(now), floor)
        assert last <= value <= last + elapsed + JUMP_MS + 1
        assert (clock.waits is None) == (wall - last - elapsed <= JUMP_MS + 1) or clock.waits == wall
        last = value


def test_a_jump_waits_until_it_is_accepted_or_a_time_source_keeps_the_clock() -> None:
    begin = 10**12
    for kept in (False, True):
        clock, later = OwnClock(), begin + JUMP_MS + 5_000
        assert clock.read(begin, 0.0, begin) == begin
        assert clock.read(begin + JUMP_MS + 1_000, 1_000.0, begin) == begin + JUMP_MS + 1_000, "not by more"
        clock = OwnClock()
        assert clock.read(later, 0.0, begin) == begin
        assert clock.waits == later
        assert not clock.accept(later + ACCEPTED_MS + 1)
        assert clock.read(later + 1_000, 1_000.0, begin) == begin + 980
        if not kept:
            assert clock.accept(later)
        assert clock.read(later + 2_000, 2_000.0, begin, functools.partial(bool, kept)) == later + 2_000
        assert clock.waits is None and not clock.accept(later)


def test_a_new_server_believes_its_clock() -> None:
    assert OwnClock().read(10**12, 0.0, 0) == 10**12
