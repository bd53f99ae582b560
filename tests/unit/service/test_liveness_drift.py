# SPDX-License-Identifier: Apache-2.0
"""The end of a session allows for clocks that run at different rates."""

from tmr.quorum.lease import DRIFT
from tmr.service.liveness import SLOT, LivenessTable

TTL = 3600


def test_a_client_with_a_slow_clock_has_its_whole_time_to_live() -> None:
    """The twin's clock is as fast as it may be, the client's as slow."""
    true_end = TTL / (1 - DRIFT)
    sessions = LivenessTable()
    sessions.begin_term(0.0, [("one", TTL)])
    assert sessions.expired(true_end * (1 + DRIFT) - 0.001, 10) == []
    assert sessions.expired(true_end * (1 + DRIFT) + SLOT, 10) == ["one"]
