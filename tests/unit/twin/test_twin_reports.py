# SPDX-License-Identifier: Apache-2.0
"""The other twin, as the upstreams tell: two must have heard it just now."""

import pytest

from tmr.quorum.entries import ProposerId
from tmr.quorum.messages import ReplicaState, Report, Reported
from tmr.twin.twin_reports import FRESH, OtherTwin, TwinReports

A = ProposerId("tmr1", "a")
MEMBER = ReplicaState("d1", True, 2, 1, 2, 1, 0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reports(clock: Clock) -> TwinReports:
    return TwinReports([], clock, lambda: Report(A, 4), lambda error: pytest.fail(str(error)))


def told(age_ms: int | None, *, ready: bool = True, reason: str = "", front: int = 4) -> Reported:
    return Reported(MEMBER, A, front, age_ms, "" if age_ms is None else "tmr2", ready=ready, reason=reason)


def test_two_upstreams_that_heard_it_ready(reports: TwinReports) -> None:
    reports.note(0, told(100))
    assert not reports.other().ready, "one may be wrong"
    reports.note(2, told(100))
    assert reports.other() == OtherTwin("tmr2", heard=True, ready=True, reason="", front=4)


def test_a_twin_that_no_upstream_has_heard_is_not_ready(reports: TwinReports) -> None:
    for slot in range(3):
        reports.note(slot, told(None, ready=False))
    other = reports.other()
    assert (other.name, other.heard, other.ready) == ("", False, False)
    assert other.reason == "no upstream has heard it"


def test_what_is_old_does_not_count(reports: TwinReports, clock: Clock) -> None:
    for slot in range(3):
        reports.note(slot, told(100))
    clock.now += FRESH
    other = reports.other()
    assert (other.name, other.heard, other.ready, other.front) == ("tmr2", False, False, 0)
    assert other.reason == "two upstreams have not heard it for 2 s"


def test_an_upstream_that_restarted_forgets_what_it_told_before(reports: TwinReports) -> None:
    reports.note(0, told(100))
    reports.note(1, told(100))
    reports.note(1, told(None, ready=False))
    assert not reports.other().ready


def test_the_newest_reason_is_given(reports: TwinReports) -> None:
    reports.note(0, told(900, ready=False, reason="it mirrors"))
    reports.note(1, told(100, ready=False, reason="it is being stopped"))
    reports.note(2, told(1_500))
    other = reports.other()
    assert (other.heard, other.ready, other.reason) == (True, False, "it is being stopped")


def test_of_the_front_the_second_best_view_counts(reports: TwinReports) -> None:
    for slot, front in enumerate((4, 2, 3)):
        reports.note(slot, told(100, front=front))
    assert reports.other().front == 3
