# SPDX-License-Identifier: Apache-2.0
"""The shortest lease that an inventory may ask for leaves time for an address's lifetime."""

from tests.unit.roles.plugin import load
from tmr.quorum.lease import Timing
from tmr.vip.decide import kernel_lifetime

TTL_MIN: float = load("tmr_inventory/filter_plugins/tmr_inventory.py").TTL_MIN


def test_the_shortest_lease_can_hold_an_address() -> None:
    timing = Timing(ttl=TTL_MIN)
    assert kernel_lifetime(int(timing.usable * 1e9), 0) >= 1
    assert timing.usable - 1 > timing.renewal, "also right before the next renewal"


def test_a_lease_of_a_second_cannot() -> None:
    assert kernel_lifetime(int(Timing(ttl=1.0).usable * 1e9), 0) == 0
