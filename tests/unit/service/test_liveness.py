# SPDX-License-Identifier: Apache-2.0
"""Heartbeat memory: times to live, the race of an expiry with a heartbeat, many sessions."""

import time

from tmr.quorum.lease import DRIFT
from tmr.service.liveness import RETRY, SLOT, STRETCH, LivenessTable

TTL = 10
OVER = TTL * (1 + DRIFT) / (1 - DRIFT)
LATEST = OVER + SLOT
"""A session is looked at when its slot is over."""


def term(*sessions: str, now: float = 100.0) -> LivenessTable:
    memory = LivenessTable()
    memory.begin_term(now, ((session, TTL) for session in sessions))
    return memory


def test_a_new_active_gives_everybody_a_fresh_time_to_live() -> None:
    memory = term("a", "b")
    assert memory.expired(100 + TTL, 10) == []
    assert sorted(memory.expired(100.001 + LATEST, 10)) == ["a", "b"]


def test_the_drift_of_two_clocks_is_waited_for() -> None:
    memory = term("a")
    assert memory.expired(99.999 + OVER, 10) == []


def test_a_heartbeat_starts_a_fresh_time_to_live() -> None:
    memory = term("a")
    assert memory.heartbeat(105, "a") == "alive"
    assert memory.expired(100.001 + LATEST, 10) == []
    assert memory.expired(105.001 + LATEST, 10) == ["a"]


def test_a_session_that_is_refused_is_not_kept_alive_and_that_is_remembered() -> None:
    memory = term("a", "b")
    memory.refuse("a")
    memory.refuse("c")
    assert (memory.refused("a"), memory.refused("b"), memory.refused("c")) == (True, False, False)
    assert sorted(memory.expired(100.001 + LATEST, 10)) == ["a", "b"]
    assert memory.refused("a")
    memory = term("a")
    memory.refuse("a")
    memory.heartbeat(105, "a")
    assert not memory.refused("a"), "the licence came back"


def test_a_session_whose_end_is_under_way_is_never_alive() -> None:
    memory = term("a")
    assert memory.expired(200, 10) == ["a"]
    assert memory.heartbeat(200, "a") == "ending"
    memory.granted(200, "a", TTL)
    assert memory.heartbeat(200, "a") == "ending"
    memory.ended("a")
    assert memory.heartbeat(200, "a") == "unknown"
    assert memory.expired(1000, 10) == []


def test_an_end_that_did_not_reach_the_journal_is_tried_again_unless_heard() -> None:
    memory = term("a", "b")
    assert sorted(memory.expired(200, 10)) == ["a", "b"]
    memory.kept(200, "a")
    memory.kept(200, "b")
    assert memory.heartbeat(200.1, "b") == "alive"
    assert memory.expired(200 + RETRY + SLOT, 10) == ["a"]
    assert memory.expired(200.2 + LATEST, 10) == ["b"]


def test_a_repeated_grant_counts_as_heard() -> None:
    memory = term()
    memory.granted(100, "a", TTL)
    memory.granted(107, "a", TTL)
    assert memory.expired(100.001 + LATEST, 10) == []
    assert memory.expired(107.001 + LATEST, 10) == ["a"]


def test_a_new_term_forgets_what_was_ending() -> None:
    memory = term("a")
    assert memory.expired(200, 10) == ["a"]
    memory.begin_term(200, [("a", TTL)])
    assert memory.heartbeat(201, "a") == "alive"


def test_the_limit_leaves_the_rest_for_the_next_time() -> None:
    memory = term(*"abcde")
    assert len(memory.expired(200, 3)) == 3
    assert len(memory.expired(200, 3)) == 2


def test_the_remaining_time_is_the_clients() -> None:
    memory = term("a")
    assert memory.remaining_ms(104, "a") == 6_000
    assert memory.remaining_ms(300, "a") == 0
    assert memory.remaining_ms(104, "b") is None


def test_a_hundred_thousand_quiet_sessions_cost_a_tick_nothing() -> None:
    memory = LivenessTable()
    memory.begin_term(0, ((str(n), 60) for n in range(100_000)))
    began = time.process_time()
    for tick in range(10_000):
        assert memory.expired(tick / 1000, 100) == []
    assert time.process_time() - began < 1, "a tick must not look at every session"


def test_nothing_is_kept_of_a_million_sessions_that_are_over() -> None:
    """A thousand grants and releases a second, of sessions with the longest time to live."""
    memory = term("held")
    for number in range(1_000_000):
        now, session = 100 + number / 1000, str(number)
        memory.granted(now, session, 3600)
        if number >= 50:
            memory.ending(str(number - 50))
            memory.ended(str(number - 50))
        if number % 10_000 == 0:
            memory.heartbeat(now, "held")
            assert memory.expired(now, 100) == []
    assert len(memory) == 51
    assert memory.timers < 51 + 3 + 1_000 / SLOT + 1, "those held, and empty slots of 1,000 s"


def test_a_passive_twin_keeps_nothing() -> None:
    memory = LivenessTable()
    for number in range(1_000_000):
        memory.granted(float(number), str(number), 60)
    assert (len(memory), memory.timers) == (0, 0)
    memory.begin_term(0.0, [("a", 60)])
    memory.granted(1.0, "b", 60)
    memory.end_term()
    memory.granted(2.0, "c", 60)
    assert (len(memory), memory.timers) == (0, 0)


def test_a_call_looks_at_a_bounded_number_of_sessions() -> None:
    memory = LivenessTable()
    memory.begin_term(0, ((str(n), TTL) for n in range(3 * STRETCH)))
    for number in range(3 * STRETCH):
        memory.heartbeat(TTL - 1, str(number))
    for _ in range(3):
        assert memory.expired(LATEST, 10) == []
    assert len(memory.expired(TTL + LATEST, 10)) == 10
