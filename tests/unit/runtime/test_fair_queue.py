# SPDX-License-Identifier: Apache-2.0
"""Turns of flows in the fair queue: equal shares, whatever one of them has waiting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.runtime import fair_queue
from tmr.runtime.fair_queue import FairQueue

COSTS = st.floats(0.1, 20.0)


def drained(queue: FairQueue[str]) -> list[str]:
    return [queue.pop()[0] for _ in range(len(queue))]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), COSTS), max_size=60))
def test_all_that_waits_comes_once_and_each_flow_in_order(pushed: list[tuple[str, str, float]]) -> None:
    queue: FairQueue[tuple[int, str, str]] = FairQueue()
    for number, (client, address, cost) in enumerate(pushed):
        queue.push([client, address], (number, client, address), cost)
    assert len(queue) == len(pushed)
    found = [queue.pop() for _ in range(len(queue))]
    assert sorted(number for (number, _, _), _ in found) == list(range(len(pushed)))
    assert all(cost == pushed[number][2] for (number, _, _), cost in found)
    for client in "abc":
        for address in "xy":
            mine = [number for (number, *flow), _ in found if flow == [client, address]]
            assert mine == sorted(mine)
    assert not queue
    with pytest.raises(IndexError):
        queue.pop()


@given(st.lists(COSTS, min_size=1, max_size=40), st.lists(COSTS, min_size=1, max_size=40))
def test_two_flows_that_wait_get_the_same(one: list[float], other: list[float]) -> None:
    """Up to the cost of one item: no schedule that cuts no item is fairer (Goyal et al., theorem 1)."""
    queue: FairQueue[str] = FairQueue()
    for flow, costs in (("a", one), ("b", other)):
        for cost in costs:
            queue.push([flow], flow, cost)
    left, taken = {"a": len(one), "b": len(other)}, {"a": 0.0, "b": 0.0}
    while all(left.values()):
        flow, cost = queue.pop()
        taken[flow] += cost
        left[flow] -= 1
        assert abs(taken["a"] - taken["b"]) <= max(one) + max(other) + 1e-6


def test_a_newcomer_is_next_and_has_saved_nothing() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(100):
        queue.push(["flood"], f"flood{number}")
    for _ in range(50):
        queue.pop()
    for number in range(10):
        queue.push(["neighbour"], f"neighbour{number}")
    order = [queue.pop()[0] for _ in range(20)]
    assert "neighbour0" in order[:2]
    assert sum(one.startswith("neighbour") for one in order) == 10, "half of the turns, not all of them"


def test_what_costs_more_has_fewer_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(20):
        queue.push(["large"], "large", 10.0)
        queue.push(["small"], "small", 1.0)
    order = [queue.pop()[0] for _ in range(11)]
    assert order.count("small") >= 9


def test_many_addresses_of_one_client_are_one_share() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(50):
        queue.push(["flood", f"10.0.0.{number}"], "flood")
    for _ in range(10):
        queue.push(["neighbour", "10.0.1.1"], "neighbour")
    assert [queue.pop()[0] for _ in range(20)].count("neighbour") == 10


def test_nobody_owes_anything_once_nothing_waits_and_idle_flows_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fair_queue, "IDLE_MAX", 10)
    queue: FairQueue[str] = FairQueue()
    queue.push(["debtor"], "debtor", 1000.0)
    queue.pop()
    queue.push(["debtor"], "debtor")
    queue.push(["other"], "other")
    assert drained(queue) == ["debtor", "other"]
    queue.push(["busy"], "busy")
    for number in range(1_000):
        queue.push(["busy"], "busy")
        queue.push([number], "once", 0.1)
        queue.pop()
        queue.pop()
    assert len(queue._flows) < 30
