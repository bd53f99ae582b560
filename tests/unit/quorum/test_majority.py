# SPDX-License-Identifier: Apache-2.0
"""Majority: what so many of the replicas have reached."""

from hypothesis import given
from hypothesis import strategies as st

from tmr.quorum.majority import ALL, MAJORITY, REPLICAS, is_all, is_majority, reached

some = st.lists(st.integers(0, 20), max_size=REPLICAS)


def test_any_two_majorities_have_a_replica_in_common() -> None:
    assert 2 * MAJORITY > REPLICAS
    assert len(ALL) == REPLICAS


@given(some)
def test_what_a_majority_has_reached(values: list[int]) -> None:
    found = reached(values, -1)
    if len(values) < MAJORITY:
        assert found == -1
        return
    assert found in values
    assert sum(value >= found for value in values) >= MAJORITY
    assert sum(value > found for value in values) < MAJORITY


@given(some, st.integers(0, 20))
def test_one_replica_moves_nothing_beyond_the_others(values: list[int], wrong: int) -> None:
    if len(values) == REPLICAS:
        assert min(values[1:]) <= reached([wrong, *values[1:]], -1) <= max(values[1:])


def test_sizes() -> None:
    assert [is_majority("x" * count) for count in range(4)] == [False, False, True, True]
    assert [is_all("x" * count) for count in range(4)] == [False, False, False, True]
