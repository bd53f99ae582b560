# SPDX-License-Identifier: Apache-2.0
"""Due heartbeats, and the known state of a session."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tmr.api.fields import HEARTBEATS_MAX
from tmr.client._heartbeats import HeartbeatSchedule, SessionState


@pytest.fixture
def schedule() -> HeartbeatSchedule:
    return HeartbeatSchedule()


def test_nothing_to_do_without_sessions(schedule: HeartbeatSchedule) -> None:
    assert (schedule.wait(0.0), schedule.due(0.0)) == (None, ())
    assert schedule.state("a", 0.0) is SessionState.RELEASED


def test_three_beats_in_a_time_to_live(schedule: HeartbeatSchedule) -> None:
    schedule.add("a", 60, sent=100.0)
    assert (schedule.wait(110.0), schedule.due(119.9)) == (10.0, ())
    assert (schedule.wait(121.0), schedule.due(120.0)) == (0.0, ("a",))
    assert schedule.answered(("a",), ["a"], [], sent=120.0, retry_at=120.0 + 2) == ()
    assert schedule.wait(120.0) == 20.0


@pytest.mark.parametrize(
    ("now", "state"),
    [(100.0, SessionState.HELD), (159.9, SessionState.HELD), (160.0, SessionState.UNKNOWN)],
)
def test_silence_makes_unknown(schedule: HeartbeatSchedule, now: float, state: SessionState) -> None:
    schedule.add("a", 60, sent=100.0)
    schedule.unanswered(("a",), retry_at=121.0)
    assert schedule.state("a", now) is state
    assert schedule.due(now) == (("a",) if now >= 121.0 else ())


def test_an_answer_makes_it_held_again(schedule: HeartbeatSchedule) -> None:
    schedule.add("a", 60, sent=100.0)
    assert schedule.state("a", 500.0) is SessionState.UNKNOWN
    schedule.answered(("a",), ["a"], [], sent=500.0, retry_at=500.0 + 2)
    assert schedule.state("a", 559.0) is SessionState.HELD


def test_only_the_server_loses_sessions(schedule: HeartbeatSchedule) -> None:
    schedule.add("a", 60, sent=100.0)
    schedule.add("b", 60, sent=100.0)
    assert schedule.answered(("a", "b"), ["b"], ["a"], sent=120.0, retry_at=120.0 + 2) == ("a",)
    assert schedule.state("a", 120.0) is SessionState.LOST
    assert schedule.state("b", 120.0) is SessionState.HELD
    assert schedule.due(140.0) == ("b",)
    assert schedule.remove("a") is False
    assert schedule.remove("b") is True


def test_answers_about_others_change_nothing(schedule: HeartbeatSchedule) -> None:
    """Released while the heartbeat was on its way, or granted meanwhile, or never ours."""
    schedule.add("a", 60, sent=100.0)
    schedule.remove("a")
    schedule.add("b", 60, sent=119.0)
    assert schedule.answered(("a",), [], ["a", "b", "c"], sent=120.0, retry_at=120.0 + 2) == ()
    assert schedule.state("b", 120.0) is SessionState.HELD
    schedule.unanswered(("a",), 130.0)
    assert schedule.due(130.0) == ()


def test_a_session_that_is_neither_alive_nor_lost_is_asked_about_again(schedule: HeartbeatSchedule) -> None:
    """Its licence is unavailable for a while: not kept alive, and not lost."""
    schedule.add("a", 60, sent=100.0)
    assert schedule.answered(("a",), [], [], sent=120.0, retry_at=122.0) == ()
    assert (schedule.due(121.0), schedule.due(122.0)) == ((), ("a",))
    assert schedule.state("a", 160.0) is SessionState.UNKNOWN


def test_those_nearly_due_go_along(schedule: HeartbeatSchedule) -> None:
    schedule.add("late", 60, sent=100.0)
    schedule.add("soon", 60, sent=109.0)
    schedule.add("fresh", 60, sent=119.0)
    assert schedule.due(119.9) == ()
    assert schedule.due(120.0) == ("late", "soon")


def test_no_request_is_too_large(schedule: HeartbeatSchedule) -> None:
    for number in range(HEARTBEATS_MAX + 10):
        schedule.add(f"s{number}", 60, sent=100.0 + number / 1000)
    first = schedule.due(130.0)
    assert len(first) == HEARTBEATS_MAX
    schedule.answered(first, first, [], sent=130.0, retry_at=130.0 + 2)
    assert len(schedule.due(130.0)) == 10


class Beating(RuleBasedStateMachine):
    """A client that beats whenever it is due keeps every session held, as long as it is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = HeartbeatSchedule()
        self.now = 0.0
        self.alive: dict[str, tuple[float, float]] = {}
        """What the server thinks: time to live, and the last sign of life."""
        self.count = 0

    @rule(ttl=st.integers(5, 3600))
    def grant(self, ttl: int) -> None:
        self.count += 1
        self.schedule.add(f"s{self.count}", ttl, self.now)
        self.alive[f"s{self.count}"] = (ttl, self.now)

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(sorted(self.alive)))
        del self.alive[session]
        assert self.schedule.remove(session)

    @precondition(lambda self: self.alive)
    @rule(delay=st.floats(0, 1))
    def beat(self, delay: float) -> None:
        wait = self.schedule.wait(self.now)
        assert wait is not None
        self.now += wait
        due = self.schedule.due(self.now)
        assert due
        sent, self.now = self.now, self.now + delay
        for session in due:
            self.alive[session] = (self.alive[session][0], sent)
        assert self.schedule.answered(due, due, [], sent, sent + 2) == ()

    @invariant()
    def nobody_dies(self) -> None:
        # Beats run one after another, each at most a second late.
        for session, (ttl, last) in self.alive.items():
            if self.now - last < ttl:
                assert self.schedule.state(session, self.now) is SessionState.HELD
        wait = self.schedule.wait(self.now)
        for ttl, last in self.alive.values():
            assert wait is not None
            assert self.now + wait <= max(last + ttl / 3 + 1e-6, self.now)


TestBeating = Beating.TestCase
TestBeating.settings = settings(max_examples=50, deadline=None)
