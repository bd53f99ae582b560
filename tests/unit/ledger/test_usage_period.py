# SPDX-License-Identifier: Apache-2.0
"""A Usage Period starts with the first use."""

from tests.unit.ledger.world import START_MS, World, item, key
from tmr.ledger import Granted


def test_it_starts_with_the_first_session_and_ends_for_all() -> None:
    world = World(item(quantity=5, usage_s=60))
    world.pass_time(1_000_000)
    first = world.now
    assert world.grant().ends_ms == first + 60_000
    world.pass_time(59_999)
    assert world.grant().ends_ms == first + 60_000
    world.pass_time(1)
    assert world.grant().reason == "licence-expired"


def test_a_borrowing_starts_it_too() -> None:
    world = World(item(usage_s=60, borrow_s=3600))
    assert world.borrow(3600).until_ms == START_MS + 60_000
    assert world.ledger.first_use_ms(key()) == START_MS


def test_what_is_denied_does_not_start_it() -> None:
    world = World(item(usage_s=60, units=1))
    assert world.grant(units=2).reason == "not-enough-units"
    assert world.grant(features=1).reason == "feature-missing"
    assert world.borrow(60).reason == "borrow-failed"
    assert world.ledger.first_use_ms(key()) is None
    assert isinstance(world.grant(), Granted)


def test_the_expiration_time_may_come_before_its_end() -> None:
    world = World(item(usage_s=60, expiration_ms=START_MS + 1000))
    assert world.grant().ends_ms == START_MS + 1000
