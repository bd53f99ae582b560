# SPDX-License-Identifier: Apache-2.0
"""Decisions as tables: state and event in, actions and reasons out."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tmr.vip import actions as act
from tmr.vip import decide as d
from tmr.vip import events as ev
from tmr.vip import protocol as p
from tmr.vip.protocol import Drop, Hold

S = d.SECOND_NS
T0 = 1000 * S
EARLY = d.REMOVE_EARLY_NS
IDLE = d.State(carrier=True)


def hold(epoch: int = 7, seconds: float = 2.0, at: int = T0, release: bytes = b"release") -> Hold:
    return Hold(epoch=epoch, deadline_ns=at + int(seconds * S), release=release)


def run(state: d.State, *steps: tuple[ev.Event, int]) -> tuple[d.State, list[act.Action]]:
    """Events with their times; the last state, and what the last event gave."""
    actions: list[act.Action] = []
    for event, at in steps:
        state, actions = d.decide(state, event, at)
    return state, actions


def told(epoch: int = 7, seconds: float = 2.0, at: int = T0) -> act.Tell:
    """The answer to such a hold."""
    return act.Tell(p.Held(epoch=epoch, deadline_ns=at + int(seconds * S)))


def held(seconds: float = 2.0) -> d.State:
    return run(IDLE, (hold(seconds=seconds), T0))[0]


UNTIL = T0 + 2 * S - EARLY


def test_first_hold_adds_announces_and_only_then_tells() -> None:
    state, actions = run(IDLE, (hold(), T0))
    assert actions == [act.Add(UNTIL), act.Announce(UNTIL), told()]
    assert state.up


def test_renewal_refreshes_and_is_answered() -> None:
    at = T0 + 3 * S // 10
    _, actions = run(held(), (hold(at=at), at))
    assert actions == [act.Refresh(UNTIL + at - T0), told(at=at)]


def test_next_epoch_while_up_announces_again() -> None:
    _, actions = run(held(), (hold(epoch=8), T0))
    assert actions == [act.Refresh(UNTIL), act.Announce(UNTIL), told(8)]


def test_shorter_deadline_of_a_newer_epoch_starts_afresh() -> None:
    _, actions = run(held(), (hold(epoch=8, seconds=1.5), T0))
    until = T0 + 3 * S // 2 - EARLY
    assert actions == [act.Remove(), act.Add(until), act.Announce(until), told(8, 1.5)]
    state, actions = run(held(), (hold(epoch=8, seconds=0.5), T0))
    assert actions[0] == act.Remove()
    assert not state.up


@pytest.mark.parametrize(
    ("state", "event", "detail"),
    [
        (held(), hold(epoch=6), "older epoch: epoch 7"),
        (IDLE, hold(seconds=0), "deadline passed 0.0 ms ago"),
        (IDLE, hold(seconds=-0.5), "deadline passed 500.0 ms ago"),
        (IDLE, hold(seconds=61), "CLOCK_BOOTTIME"),
        (IDLE, hold(seconds=0.9), "less than 1 s"),
        (d.State(carrier=False), hold(), "no carrier"),
        (run(held(), (Drop(epoch=7), T0))[0], hold(epoch=7), "epoch 7 was given up"),
        (run(held(), (ev.Disconnected(), T0))[0], hold(epoch=7), "epoch 7 was given up"),
        (held(), Drop(epoch=6), "older epoch: epoch 7"),
    ],
)
def test_refused_with_a_reason_and_nothing_done(state: d.State, event: Hold | Drop, detail: str) -> None:
    after, actions = d.decide(state, event, T0)
    [told] = actions
    assert isinstance(told, act.Tell)
    assert isinstance(told.report, p.CommandRefused)
    assert detail in told.report.detail
    assert told.report.epoch == event.epoch
    assert after.up == state.up


def test_renewal_that_would_shorten_the_lease_changes_nothing() -> None:
    state, actions = run(held(), (hold(seconds=1.5), T0))
    assert actions == [told(seconds=1.5)]
    assert state == held()


def test_ping_is_answered_and_changes_nothing() -> None:
    for state in (IDLE, held()):
        assert d.decide(state, p.Ping(), T0) == (state, [act.Tell(p.Pong())])


def test_address_that_appears_is_taken_away_unless_it_was_put_up_here() -> None:
    appeared = ev.Appeared("10.20.0.100")
    assert d.decide(IDLE, appeared, T0) == (IDLE, [act.RemoveStrays(keep_own=False)])
    assert d.decide(held(), appeared, T0) == (held(), [act.RemoveStrays(keep_own=True)])
    # The lease has ended: what this daemon put up is no longer its own to keep.
    _, actions = d.decide(held(), appeared, UNTIL)
    assert actions[-1] == act.RemoveStrays(keep_own=False)


@pytest.mark.parametrize(
    ("state", "event", "again"),
    [
        (IDLE, hold(seconds=0), True),
        (IDLE, hold(seconds=0.9), True),
        (IDLE, hold(seconds=61), False),
        (held(), hold(epoch=6), False),
        (d.State(carrier=False), hold(), False),
    ],
)
def test_hold_that_came_too_late_may_be_sent_again(state: d.State, event: Hold, again: bool) -> None:
    [refusal] = d.decide(state, event, T0)[1]
    assert isinstance(refusal, act.Tell)
    assert isinstance(refusal.report, p.CommandRefused)
    assert refusal.report.again is again


def test_renewal_with_less_than_a_second_leaves_the_kernel_lifetime() -> None:
    at = T0 + 3 * S // 2
    state, actions = run(held(), (hold(at=at, seconds=0.9), at))
    assert [type(action) for action in actions] == [act.Ignore, act.Tell]
    assert state.up
    assert state.term is not None
    assert state.term.until_ns == at + 9 * S // 10 - EARLY


def test_deadline_removes_and_says_so() -> None:
    state = held()
    assert run(state, (ev.Tick(), UNTIL - 1))[0].up
    state, actions = run(state, (ev.Tick(), UNTIL))
    assert actions[0] == act.Remove()
    assert actions[1] == act.Tell(
        p.Dropped(epoch=7, reason="deadline", detail="the lease was not renewed in time")
    )
    assert d.wake_at(state) is None
    # The same term may go on: its lease was renewed late, not lost.
    assert act.Add(UNTIL + 5 * S) in run(state, (hold(at=T0 + 5 * S), T0 + 5 * S))[1]


def test_any_event_after_the_deadline_removes_first() -> None:
    for event in (
        ev.Connected(),
        ev.Foreign("10.20.0.100", "02:…"),
        ev.Disconnected(),
        hold(epoch=3),
    ):
        _, actions = d.decide(held(), event, UNTIL)
        assert actions[0] == act.Remove()
        assert not any(isinstance(action, act.SendRelease | act.Announce) for action in actions)


def test_drop_removes_before_it_answers() -> None:
    _, actions = run(held(), (Drop(epoch=7), T0))
    assert actions == [act.Remove(), act.Tell(p.Dropped(epoch=7, reason="asked"))]
    _, actions = run(IDLE, (Drop(epoch=7), T0))
    assert actions == [
        act.Remove(),
        act.Tell(p.Dropped(epoch=7, reason="asked", detail="it was not up")),
    ]


def test_death_of_the_commander_removes_then_sends_the_release() -> None:
    state, actions = run(held(), (ev.Disconnected(), T0))
    assert actions == [act.Remove(), act.SendRelease(7, b"release", UNTIL)]
    assert d.wake_at(state) is None


@pytest.mark.parametrize(
    "state",
    [IDLE, run(held(), (Drop(epoch=7), T0))[0], run(held(), (ev.Tick(), UNTIL))[0]],
    ids=["idle", "dropped", "expired"],
)
def test_no_release_where_no_lease_is_alive(state: d.State) -> None:
    _, [ignored] = d.decide(state, ev.Disconnected(), T0 + 3 * S)
    assert isinstance(ignored, act.Ignore)


def test_without_a_release_the_lease_ends_by_itself() -> None:
    _, actions = run(IDLE, (hold(release=b""), T0), (ev.Disconnected(), T0))
    assert [type(action) for action in actions] == [act.Remove, act.Ignore]


def test_release_is_sent_even_if_the_address_could_not_be_held() -> None:
    _, actions = run(d.State(carrier=False), (hold(), T0), (ev.Disconnected(), T0))
    assert act.SendRelease(7, b"release", UNTIL) in actions


def test_carrier() -> None:
    state, actions = run(held(), (ev.Carrier(False), T0))
    assert [type(action) for action in actions] == [act.Remove, act.Tell, act.Tell]
    assert actions[2] == act.Tell(p.CarrierChanged(up=False))
    _, actions = run(state, (ev.Carrier(False), T0))
    assert [type(action) for action in actions] == [act.Ignore]
    state, actions = run(state, (ev.Carrier(True), T0))
    assert actions == [act.Tell(p.CarrierChanged(up=True))]
    assert run(state, (hold(), T0))[0].up


def test_conflict_is_reported_once_in_ten_seconds_and_every_claim_is_answered() -> None:
    foreign = ev.Foreign("10.20.0.100", "02:00:00:00:00:66")
    other = replace(foreign, address="10.20.0.101")
    until = T0 + 50 * S - EARLY
    report = act.Tell(p.Conflict(address="10.20.0.100", mac="02:00:00:00:00:66"))
    announce = act.Announce(until)
    start = T0 + 3 * S // 2
    state, actions = run(held(seconds=50), (foreign, start))
    assert actions == [report, announce]
    assert state.announce_ns == start + d.BURST_INTERVAL_NS
    # Within a second of the last announcement: answered by the next, which is near.
    after, actions = run(state, (foreign, start + S - 1))
    assert [type(action) for action in actions] == [act.Ignore]
    assert after.announce_ns == start + d.BURST_INTERVAL_NS
    assert run(after, (ev.Tick(), after.announce_ns))[1] == [announce]
    _, actions = run(state, (foreign, start + S))
    assert actions == [announce]
    _, actions = run(state, (other, start + S))
    assert [type(action) for action in actions] == [act.Tell, act.Announce]
    _, actions = run(state, (foreign, start + 10 * S))
    assert actions == [report, announce]


def test_claim_is_answered_again_after_the_locktime_of_neighbours() -> None:
    """A claim long after the address came up: at once, and by a burst."""
    state, now = held(seconds=50), T0 + 20 * S + S // 2
    while (wake := d.wake_at(state) or 0) <= now:
        state, _ = d.decide(state, ev.Tick(), wake)
    state, _ = d.decide(state, ev.Foreign("10.20.0.100", "02:00:00:00:00:66"), now)
    assert now < state.announce_ns <= now + d.BURST_INTERVAL_NS
    at = []
    while (wake := d.wake_at(state) or 0) <= now + 5 * S:
        at.append(wake - now)
        state, _ = d.decide(state, ev.Tick(), wake)
    assert len(at) >= 4
    assert max(after - before for before, after in pairwise([0, *at])) <= d.BURST_INTERVAL_NS


def test_claims_for_an_address_not_held_here_are_the_other_twins_right() -> None:
    _, actions = run(IDLE, (ev.Foreign("10.20.0.100", "02:00:00:00:00:66"), T0))
    assert [type(action) for action in actions] == [act.Ignore]


def test_vanished_address_is_put_back_but_not_fought_over() -> None:
    gone = ev.Vanished("10.20.0.100")
    state, actions = run(held(seconds=5), (gone, T0 + S))
    until = T0 + 5 * S - EARLY
    assert actions == [act.Add(until), act.Announce(until)]
    state, actions = run(state, (gone, T0 + 3 * S // 2))
    assert actions[0] == act.Remove()
    assert isinstance(actions[1], act.Tell)
    assert not state.up
    # The kernel took it in the last second: no lifetime could be set any more.
    state, actions = run(held(), (gone, T0 + 3 * S // 2))
    detail = "10.20.0.100 vanished with less than 1 s of lease left"
    assert actions == [act.Remove(), act.Tell(p.Dropped(epoch=7, reason="deadline", detail=detail))]
    assert not state.up
    # The term may go on.
    assert run(state, (hold(at=T0 + 2 * S), T0 + 2 * S))[0].up
    assert [type(action) for action in run(IDLE, (gone, T0))[1]] == [act.Ignore]


def test_failure_removes_and_the_next_renewal_tries_again() -> None:
    state, actions = run(held(), (ev.Failed("ENODEV"), T0))
    assert actions == [act.Remove(), act.Tell(p.Dropped(epoch=7, reason="error", detail="ENODEV"))]
    assert run(state, (hold(), T0))[0].up
    assert run(IDLE, (ev.Failed("x"), T0))[1] == []


def test_stop_always_removes() -> None:
    assert run(IDLE, (ev.Stop(), T0))[1] == [act.Remove()]
    state, actions = run(held(), (ev.Stop(), T0))
    assert [type(action) for action in actions] == [act.Remove, act.Tell]
    assert d.wake_at(state) is None


def test_hello_tells_the_carrier() -> None:
    for carrier in (True, False):
        _, actions = d.decide(d.State(carrier=carrier), ev.Connected(), T0)
        assert actions == [act.Tell(p.Hello(version=1, carrier=carrier))]


def test_front_is_told_after_hello_and_when_it_changes() -> None:
    state, actions = d.decide(IDLE, ev.FrontSeen(4), T0)
    assert actions == [act.Tell(p.Front(view=4))]
    assert d.decide(state, ev.FrontSeen(4), T0) == (state, [])
    _, actions = d.decide(state, ev.Connected(), T0)
    assert actions == [act.Tell(p.Hello(version=1, carrier=True)), act.Tell(p.Front(view=4))]


def test_announcement_schedule() -> None:
    """At once, every 1.1 s for 5 s, then every 2 s, however often the lease is renewed."""
    state, actions = run(IDLE, (hold(seconds=60), T0))
    seen = [0.0]
    now = T0
    while now < T0 + 10 * S:
        wake = d.wake_at(state)
        assert wake is not None
        renewal = now + 3 * S // 10
        event: Any = ev.Tick()
        if renewal < wake:
            now, event = renewal, hold(seconds=60, at=renewal)
        else:
            now = wake
        state, actions = d.decide(state, event, now)
        seen += [(now - T0) / S for action in actions if isinstance(action, act.Announce)]
    assert seen == pytest.approx([0, 1.1, 2.2, 3.3, 4.4, 6.4, 8.4])


def test_last_whole_second_of_kernel_lifetime_is_used() -> None:
    """Without a renewal the kernel must not take the address away while the lease still lives."""
    state = held(seconds=1.76)
    until = T0 + 1_760_000_000 - EARLY
    wake = d.wake_at(state)
    assert wake == until - S - d.TIMER_SLACK_NS
    assert d.kernel_lifetime(until, T0) == 1
    state, actions = d.decide(state, ev.Tick(), wake)
    assert actions == [act.Refresh(until)]
    assert d.kernel_lifetime(until, wake) == 1
    # A timer that is late by less than the slack still manages.
    assert d.kernel_lifetime(until, wake + d.TIMER_SLACK_NS) == 1


@pytest.mark.parametrize(
    ("remaining_ns", "lifetime"),
    [(-S, 0), (0, 0), (S - 1, 0), (S, 1), (2 * S - 1, 1), (2 * S, 2), (59 * S + 1, 59)],
)
def test_kernel_lifetime_is_the_floor(remaining_ns: int, lifetime: int) -> None:
    assert d.kernel_lifetime(T0 + remaining_ns, T0) == lifetime


def test_epochs_begin_anew_with_another_founding_and_only_then() -> None:
    former = msgspec.structs.replace(hold(epoch=1000), founding="a")
    state, _ = run(IDLE, (former, T0), (ev.Disconnected(), T0))
    again = msgspec.structs.replace(hold(epoch=3), founding="a")
    for early in (again, hold(epoch=3)):
        _, [refused] = d.decide(state, early, T0)
        assert isinstance(refused, act.Tell)
        assert isinstance(refused.report, p.CommandRefused)
    other = msgspec.structs.replace(hold(epoch=3), founding="b")
    state, actions = d.decide(state, other, T0)
    assert actions == [act.Add(UNTIL), act.Announce(UNTIL), told(3)]
    assert d.decide(state, Drop(epoch=2, founding="b"), T0)[0].up


def test_a_former_founding_leaves_no_address_behind() -> None:
    former = msgspec.structs.replace(hold(epoch=1000), founding="a")
    state, _ = run(IDLE, (former, T0))
    assert state.up
    state, actions = d.decide(state, Drop(epoch=1, founding="b"), T0)
    assert actions[0] == act.Remove()
    assert not state.up
