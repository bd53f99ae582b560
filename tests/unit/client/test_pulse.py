"""Due heartbeats, and the known state of a session."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tmr.client.models import HEARTBEATS_MAX
from tmr.client.pulse import Pulse, SessionState


@pytest.fixture
def pulse() -> Pulse:
    return Pulse()


def test_nothing_to_do_without_sessions(pulse: Pulse) -> None:
    assert (pulse.wait(0.0), pulse.due(0.0)) == (None, ())
    assert pulse.state("a", 0.0) is SessionState.RELEASED


def test_three_beats_in_a_time_to_live(pulse: Pulse) -> None:
    pulse.add("a", 60, sent=100.0)
    assert (pulse.wait(110.0), pulse.due(119.9)) == (10.0, ())
    assert (pulse.wait(121.0), pulse.due(120.0)) == (0.0, ("a",))
    assert pulse.answered(("a",), ["a"], [], sent=120.0, retry_at=120.0 + 2) == ()
    assert pulse.wait(120.0) == 20.0


@pytest.mark.parametrize(
    ("now", "state"),
    [(100.0, SessionState.HELD), (159.9, SessionState.HELD), (160.0, SessionState.UNKNOWN)],
)
def test_silence_makes_unknown(pulse: Pulse, now: float, state: SessionState) -> None:
    pulse.add("a", 60, sent=100.0)
    pulse.unanswered(("a",), retry_at=121.0)
    assert pulse.state("a", now) is state
    assert pulse.due(now) == (("a",) if now >= 121.0 else ())


def test_an_answer_makes_it_held_again(pulse: Pulse) -> None:
    pulse.add("a", 60, sent=100.0)
    assert pulse.state("a", 500.0) is SessionState.UNKNOWN
    pulse.answered(("a",), ["a"], [], sent=500.0, retry_at=500.0 + 2)
    assert pulse.state("a", 559.0) is SessionState.HELD


def test_only_the_server_loses_sessions(pulse: Pulse) -> None:
    pulse.add("a", 60, sent=100.0)
    pulse.add("b", 60, sent=100.0)
    assert pulse.answered(("a", "b"), ["b"], ["a"], sent=120.0, retry_at=120.0 + 2) == ("a",)
    assert pulse.state("a", 120.0) is SessionState.LOST
    assert pulse.state("b", 120.0) is SessionState.HELD
    assert pulse.due(140.0) == ("b",)
    assert pulse.remove("a") is False
    assert pulse.remove("b") is True


def test_answers_about_others_change_nothing(pulse: Pulse) -> None:
    """Released while the heartbeat was on its way, or granted meanwhile, or never ours."""
    pulse.add("a", 60, sent=100.0)
    pulse.remove("a")
    pulse.add("b", 60, sent=119.0)
    assert pulse.answered(("a",), [], ["a", "b", "c"], sent=120.0, retry_at=120.0 + 2) == ()
    assert pulse.state("b", 120.0) is SessionState.HELD
    pulse.unanswered(("a",), 130.0)
    assert pulse.due(130.0) == ()


def test_a_session_that_is_neither_alive_nor_lost_is_asked_about_again(pulse: Pulse) -> None:
    """Its licence is unavailable for a while: not kept alive, and not lost."""
    pulse.add("a", 60, sent=100.0)
    assert pulse.answered(("a",), [], [], sent=120.0, retry_at=122.0) == ()
    assert (pulse.due(121.0), pulse.due(122.0)) == ((), ("a",))
    assert pulse.state("a", 160.0) is SessionState.UNKNOWN


def test_those_nearly_due_go_along(pulse: Pulse) -> None:
    pulse.add("late", 60, sent=100.0)
    pulse.add("soon", 60, sent=109.0)
    pulse.add("fresh", 60, sent=119.0)
    assert pulse.due(119.9) == ()
    assert pulse.due(120.0) == ("late", "soon")


def test_no_request_is_too_large(pulse: Pulse) -> None:
    for number in range(HEARTBEATS_MAX + 10):
        pulse.add(f"s{number}", 60, sent=100.0 + number / 1000)
    first = pulse.due(130.0)
    assert len(first) == HEARTBEATS_MAX
    pulse.answered(first, first, [], sent=130.0, retry_at=130.0 + 2)
    assert len(pulse.due(130.0)) == 10


class Beating(RuleBasedStateMachine):
    """A client that beats whenever it is due keeps every session held, as long as it is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.pulse = Pulse()
        self.now = 0.0
        self.alive: dict[str, tuple[float, float]] = {}
        """What the server thinks: time to live, and the last sign of life."""
        self.count = 0

    @rule(ttl=st.integers(5, 3600))
    def grant(self, ttl: int) -> None:
        self.count += 1
        self.pulse.add(f"s{self.count}", ttl, self.now)
        self.alive[f"s{self.count}"] = (ttl, self.now)

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(sorted(self.alive)))
        del self.alive[session]
        assert self.pulse.remove(session)

    @precondition(lambda self: self.alive)
    @rule(delay=st.floats(0, 1))
    def beat(self, delay: float) -> None:
        wait = self.pulse.wait(self.now)
        assert wait is not None
        self.now += wait
        due = self.pulse.due(self.now)
        assert due
        sent, self.now = self.now, self.now + delay
        for session in due:
            self.alive[session] = (self.alive[session][0], sent)
        assert self.pulse.answered(due, due, [], sent, sent + 2) == ()

    @invariant()
    def nobody_dies(self) -> None:
        # Beats run one after another, each at most a second late.
        for session, (ttl, last) in self.alive.items():
            if self.now - last < ttl:
                assert self.pulse.state(session, self.now) is SessionState.HELD
        wait = self.pulse.wait(self.now)
        for ttl, last in self.alive.values():
            assert wait is not None
            assert self.now + wait <= max(last + ttl / 3 + 1e-6, self.now)


TestBeating = Beating.TestCase
TestBeating.settings = settings(max_examples=50, deadline=None)
