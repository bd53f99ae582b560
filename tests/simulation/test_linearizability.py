# SPDX-License-Identifier: Apache-2.0
"""The checker itself, on histories of which it is known whether they are linearizable."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulation.linearizability import Call, NotLinearizable, check
from tests.simulation.seats import Count, Give, Seats, Spent, Take, Units

A, B, C = 1, 2, 4


def linearizable(calls: list[Call], ends: dict[int, float] | None = None, quantity: int = 2) -> bool:
    try:
        check(Seats(quantity, ends or {}), calls)
    except NotLinearizable:
        return False
    return True


def test_one_after_the_other() -> None:
    calls = [Call(0, 1, Take(A)), Call(2, 3, Count(1)), Call(4, 5, Give(A)), Call(6, 7, Count(0))]
    assert linearizable(calls)
    assert not linearizable([*calls, Call(8, 9, Count(1))])


def test_more_seats_than_there_are() -> None:
    assert not linearizable([Call(0, 5, Take(A)), Call(0, 5, Take(B)), Call(0, 5, Take(C))])
    assert linearizable([Call(0, 5, Take(A)), Call(0, 5, Take(B)), Call(0, 5, Take(C)), Call(1, 4, Give(A))])


def test_a_stale_answer() -> None:
    assert linearizable([Call(0, 4, Take(A)), Call(1, 2, Count(0))])
    assert linearizable([Call(0, 4, Take(A)), Call(1, 2, Count(1)), Call(3, 5, Count(1))])
    assert not linearizable([Call(0, 4, Take(A)), Call(1, 2, Count(1)), Call(3, 5, Count(0))])


def test_an_answer_counts_only_after_its_invocation() -> None:
    assert not linearizable([Call(0, 1, Count(1)), Call(2, 3, Take(A))])


def test_what_was_never_answered_may_have_happened_or_not() -> None:
    unknown = Call(0, None, Take(A))
    assert linearizable([unknown, Call(5, 6, Count(1))])
    assert linearizable([unknown, Call(5, 6, Count(0))])
    assert linearizable([unknown, Call(1, 2, Count(0)), Call(5, 6, Count(1))])
    assert not linearizable([unknown, Call(1, 2, Count(1)), Call(5, 6, Count(0))])
    assert not linearizable([unknown, Call(1, 2, Count(2))])
    assert not linearizable([Call(3, None, Take(A)), Call(1, 2, Count(1))])


def test_calls_that_nobody_saw_answered_are_no_burden() -> None:
    unknown = [Call(0, None, Take(1 << seat)) for seat in range(10)]
    seen = [Call(time, time + 0.5, Count(time % 3)) for time in range(1, 10)]
    assert linearizable([*unknown, *seen], {1 << seat: 0.0 for seat in range(10)})


def test_a_session_ends_by_itself_and_not_too_early() -> None:
    calls = [Call(0, 1, Take(A)), Call(5, 6, Count(0))]
    assert linearizable(calls, {A: 4.0})
    assert linearizable(calls, {A: 6.0})
    assert not linearizable(calls, {A: 6.5})
    assert not linearizable(calls)
    assert not linearizable([*calls, Call(7, 8, Count(1))], {A: 4.0})


def test_units_are_neither_lost_nor_spent_twice() -> None:
    def holds(*calls: Call) -> bool:
        try:
            check(Units(10), calls)
        except NotLinearizable:
            return False
        return True

    assert holds(Call(0, 3, Spent(8)), Call(1, 2, Spent(9)))
    assert not holds(Call(0, 1, Spent(8)), Call(2, 3, Spent(9)))
    assert not holds(Call(0, 3, Spent(9)), Call(1, 2, Spent(9)))
    assert not holds(Call(0, 1, Spent(8)))
    assert holds(Call(0, None, Spent(None)), Call(0, 1, Spent(8)))
    assert not holds(Call(0, None, Spent(None)), Call(0, 1, Spent(7)))


MOMENTS = st.integers(0, 6)
CALLS = st.lists(
    st.builds(
        lambda begin, length, what: Call(begin, None if length == 4 else begin + length + 0.5, what),
        MOMENTS,
        st.integers(0, 4),
        st.one_of(
            st.sampled_from([Take(A), Take(B), Take(C)]),
            st.sampled_from([Give(A), Give(B)]),
            st.builds(Count, st.integers(0, 2)),
        ),
    ),
    max_size=5,
)


def by_trying_all_orders(calls: list[Call]) -> bool:
    """The definition, taken by its word."""
    seen = [call for call in calls if call.answered is not None]
    unseen = [call for call in calls if call.answered is None]
    model = Seats(2, {})
    for happened in itertools.chain.from_iterable(
        itertools.combinations(unseen, count) for count in range(len(unseen) + 1)
    ):
        for order in itertools.permutations([*seen, *happened]):
            if any(
                later.answered is not None and later.answered < earlier.invoked
                for earlier, later in itertools.combinations(order, 2)
            ):
                continue
            states = {model.initial}
            for call in order:
                states = {after for state in states for after in model.after(state, call.what)}
            if states:
                return True
    return False


@settings(max_examples=300, deadline=None)
@given(CALLS)
def test_the_search_agrees_with_the_definition(calls: list[Call]) -> None:
    assert linearizable(calls) == by_trying_all_orders(calls)


def test_the_answer_that_nothing_explains_is_named() -> None:
    with pytest.raises(NotLinearizable, match=r"Count\(seats=2\) between 2.000 and 3"):
        check(Seats(2, {}), [Call(0, 1, Take(A)), Call(2, 3, Count(2))])
