# SPDX-License-Identifier: Apache-2.0
"""From the prober's lines to the pause that a client saw."""

from __future__ import annotations

import pytest

from testbed.pauses import Attempt, Pause, pause, read, steady

MS = 1_000_000


def ok(*begun_ms: float, took_ms: float = 0.5) -> list[Attempt]:
    return [Attempt(int(at * MS), int((at + took_ms) * MS), "ok") for at in begun_ms]


def failed(outcome: str, *begun_ms: float, took_ms: float = 0.5) -> list[Attempt]:
    return [Attempt(int(at * MS), int((at + took_ms) * MS), outcome) for at in begun_ms]


def test_a_line_that_is_still_being_written_is_left_out() -> None:
    assert read(["1 2 ok\n", "3 4 ECONNREFUSED\n", "5 6 ok"]) == [
        Attempt(1, 2, "ok"),
        Attempt(3, 4, "ECONNREFUSED"),
    ]
    assert read(["1 2\n", ""]) == []


def test_the_pause_lies_between_the_ends_of_two_successes() -> None:
    attempts = ok(0, 5, 10, 90, 95) + failed("ETIMEDOUT", 15, 20, took_ms=60) + failed("ECONNREFUSED", 85)
    found = pause(attempts, 11 * MS)
    assert found == Pause(int(10.5 * MS), int(90.5 * MS), 65 * MS, {"ECONNREFUSED": 1, "ETIMEDOUT": 2})
    assert found.ms == 80.0


def test_attempts_end_in_another_order_than_they_began() -> None:
    slow = ok(10, took_ms=70)
    found = pause(ok(0, 5) + slow + ok(15, 60), 6 * MS)
    assert found is not None
    assert (found.from_ns, found.to_ns) == (int(15.5 * MS), int(60.5 * MS))


def test_what_was_over_before_the_event_does_not_count() -> None:
    found = pause(ok(0, 400, 405, 410, 440, 445), 407 * MS)
    assert found is not None
    assert found.ms == 30.0


def test_a_pause_that_the_event_falls_into_counts_as_a_whole() -> None:
    found = pause(ok(0, 100), 50 * MS)
    assert found is not None
    assert found.ms == 100.0


def test_nobody_has_answered_since() -> None:
    assert pause(ok(0, 5) + failed("ETIMEDOUT", 10), 7 * MS) is None
    assert pause([], 0) is None


def test_a_prober_that_was_held_up_itself_is_seen() -> None:
    found = pause(ok(0, 5, 65, 70), 6 * MS)
    assert found is not None
    assert found.held_up_ns == pytest.approx(59.5 * MS)


@pytest.mark.parametrize(
    ("attempts", "since", "expected"),
    [
        ([], 0, False),
        (ok(*range(0, 100, 5)), 0, True),
        (ok(*range(0, 100, 5)), 60, False),
        (ok(*range(0, 50, 5)) + failed("ECONNREFUSED", 50) + ok(*range(55, 150, 5)), 0, True),
        (ok(*range(0, 80, 5)) + failed("ECONNREFUSED", 80) + ok(85, 90, 95), 0, False),
    ],
)
def test_steady_is_half_a_second_without_a_failure(
    attempts: list[Attempt], since: int, expected: bool
) -> None:
    assert steady(attempts, since * MS, 50 * MS) is expected
