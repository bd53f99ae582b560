# SPDX-License-Identifier: Apache-2.0
"""Alarms of wrong clocks name each of them, whatever it shows."""

from tmr.quorum.consensus_clock import CertifiedClock
from tmr.quorum.messages import ReplicaState
from tmr.quorum.progress import Progress
from tmr.quorum.steady_clock import SteadyClock
from tmr.twin.clock_alarms import FAST_ALARM, clock_alarms, fast_clock_alarms, synchronisation_alarms

TRUE = 1_800_000_000_000
DAY = 86_400_000


def heard(*shown: int) -> CertifiedClock:
    clock = CertifiedClock()
    clock.begin_term()
    for number, ms in enumerate(shown, 1):
        clock.observe(f"up{number}", ms, 0.0)
    clock.read(0.0, TRUE)
    return clock


def test_clocks_that_confirm_none_are_all_named_with_what_they_show() -> None:
    (alarm,) = clock_alarms(heard(TRUE, TRUE + 365 * DAY, TRUE + 390 * DAY), 0.0)
    assert (
        "up1 shows 2027-01-15 08:00:00 UTC, up2 shows 2028-01-15 08:00:00 UTC, up3 shows 2028-02-09" in alarm
    )
    assert "120 s" in alarm and "monotonic clock" in alarm and "set the clocks right" in alarm


def test_one_wrong_clock_of_three_is_off() -> None:
    assert clock_alarms(heard(TRUE, TRUE, TRUE + 60_000), 0.0) == ["the clock of up3 is off by +60.0 s"]
    assert clock_alarms(heard(TRUE, TRUE, TRUE + 100), 0.0) == []


def test_the_only_clock_that_answers_in_an_outage_is_not_off() -> None:
    clock = CertifiedClock()
    clock.begin_term()
    for name in ("up1", "up2", "up3"):
        clock.observe(name, TRUE, 0.0)
    last = clock.read(0.0, TRUE)
    clock.end_term()
    for minute in range(1, 11):
        now = minute * 60_000.0
        clock.observe("up3", TRUE + minute * 60_000, now)
        clock.read(now, last)
        assert clock_alarms(clock, now) == []
    for name in ("up1", "up3"):
        clock.observe(name, TRUE + 660_000, 660_000.0)
    clock.read(660_000.0, last)
    assert clock_alarms(clock, 660_000.0) == []


def test_a_clock_may_show_any_number() -> None:
    (alarm,) = clock_alarms(heard(-(2**63), 2**63 - 1), 0.0)
    assert "up1 shows 1970-01-01 00:00:00 UTC, up2 shows 9999-12-31" in alarm


def test_clocks_that_no_time_source_keeps_are_told_where_one_should() -> None:
    def peer(*, reachable: bool = True, alarm: bool) -> Progress:
        member = ReplicaState("d", True, 1, 0, 0, 0, TRUE, clock_synchronised=False, clock_alarm=alarm)
        return Progress(member, reachable=reachable)

    peers = [("up1", peer(alarm=True)), ("up2", peer(alarm=False)), ("up3", peer(alarm=True))]
    (alarm,) = synchronisation_alarms(peers)
    assert "the clock of up1 and up3: run `chronyc tracking`" in alarm
    assert (
        synchronisation_alarms([peers[1], ("up3", peer(reachable=False, alarm=True)), ("x", Progress())])
        == []
    )


def test_a_clock_that_ran_fast_is_told_for_an_hour() -> None:
    steady = SteadyClock()
    assert fast_clock_alarms(steady, 5.0) == []
    steady.fast_at, steady.fast_by = 100.0, 3.21
    (told,) = fast_clock_alarms(steady, 130.0)
    assert "3.2 s ahead" in told and "30 s ago" in told
    assert fast_clock_alarms(steady, 100.0 + FAST_ALARM) == []
