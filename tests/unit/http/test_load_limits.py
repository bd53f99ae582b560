# SPDX-License-Identifier: Apache-2.0
"""Requests that are turned away under load, and the end of it."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tmr_system import until
from tmr.http.load_limits import HYSTERESIS, LIMITS, RETRY_MAX, Load, LoadLimits, Priority
from tmr.http.load_shedding import TICK, LoopLag, priority_of

LOADS = st.builds(Load, st.integers(0, 5_000), st.integers(0, 30_000), st.floats(0, 100), st.floats(0, 100))
BOUNDED = [priority for priority in Priority if priority in LIMITS]


@given(st.lists(LOADS, max_size=20))
def test_what_keeps_or_frees_is_never_turned_away(loads: list[Load]) -> None:
    admission = LoadLimits()
    assert all(admission.refuses(Priority.CRITICAL, load) is None for load in loads)


@given(st.sampled_from(BOUNDED), st.lists(LOADS, max_size=20))
def test_below_all_limits_everything_is_taken_on(priority: Priority, before: list[Load]) -> None:
    admission, limit = LoadLimits(), LIMITS[priority]
    for load in before:
        seconds = admission.refuses(priority, load)
        assert seconds is None or 1 <= seconds <= RETRY_MAX
    low = Load(
        int(limit.in_work * HYSTERESIS) - 1,
        int(limit.waiting * HYSTERESIS) - 1,
        0.7 * limit.oldest,
        0.7 * limit.lag,
    )
    assert admission.refuses(priority, low) is None


@pytest.mark.parametrize("measure", Load.__struct_fields__)
@pytest.mark.parametrize("priority", BOUNDED)
def test_each_limit_alone_turns_away_until_it_has_eased(priority: Priority, measure: str) -> None:
    limit = getattr(LIMITS[priority], measure)
    admission = LoadLimits()

    def refuses(part: float) -> int | None:
        value = limit * part
        return admission.refuses(
            priority, Load(**{measure: int(value) if measure in ("in_work", "waiting") else value})
        )

    assert refuses(0.99) is None
    assert refuses(1.0) == 1
    assert refuses(0.8) == 1, "not on and off with every request"
    assert refuses(0.7) is None
    assert refuses(0.8) is None
    assert refuses(3.5) == 4
    assert refuses(100) == RETRY_MAX
    told = admission.reason(priority, Load(**{measure: 2 * limit}))
    assert str(2 * limit) in told


@given(LOADS)
def test_the_less_urgent_goes_first(load: Load) -> None:
    turned_away = [LoadLimits().refuses(priority, load) is not None for priority in Priority]
    assert turned_away == sorted(turned_away)


@pytest.mark.parametrize(
    ("request_line", "priority"),
    [
        ("PUT /v1/sessions/0197/heartbeat", "critical"),
        ("POST /v1/heartbeats", "critical"),
        ("DELETE /v1/sessions/0197", "critical"),
        ("DELETE /v1/borrowings/0197", "critical"),
        ("GET /", "critical"),
        ("GET /v1/status", "critical"),
        ("GET /metrics", "critical"),
        ("PUT /v1/access", "critical"),
        ("POST /v1/operator/switchover", "critical"),
        ("POST /v1/sessions/0197/units", "held"),
        ("GET /v1/borrowings/0197/file", "held"),
        ("POST /v1/sessions", "new"),
        ("POST /v1/borrowings", "new"),
        ("GET /v1/sessions", "read-only"),
        ("GET /v1/containers", "read-only"),
        ("GET /v1/tracking", "read-only"),
        ("POST /v1/explain", "read-only"),
        ("POST /v1/heartbeats/", "read-only"),
        ("POST /v1/status", "read-only"),
    ],
)
def test_what_a_request_is_for(request_line: str, priority: str) -> None:
    assert priority_of(*request_line.split()) == priority


def test_how_late_the_loop_is() -> None:
    async def run() -> None:
        busy = True
        lag = LoopLag(lambda: busy)
        assert lag.now() == 0
        lag.watch()
        time.sleep(4 * TICK)  # noqa: ASYNC251 - this is what makes it late
        assert lag.now() >= 3 * TICK, "seen while the look itself is overdue"
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert lag.now() >= 3 * TICK, "and until the next"
        busy = False
        await until(lambda: lag.now() == 0, "nothing to do")

    asyncio.run(run())
