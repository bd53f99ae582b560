# SPDX-License-Identifier: Apache-2.0
"""An emergency licence is for when no ordinary licence is free or valid."""

import pytest

from tests.unit.ledger.world import START_MS, World, item, key
from tmr.ledger import Rule, SubjectMatch

EMERGENCY = item(9, 1, emergency=True, usage_s=3600)


def test_it_is_used_where_no_seat_is_free_and_the_record_says_so() -> None:
    world = World(EMERGENCY, item(10))
    assert not world.grant().emergency
    assert world.ledger.first_use_ms(key(9)) is None
    helped = world.grant()
    assert (helped.emergency, helped.key, helped.ends_ms) == (True, key(9), START_MS + 3_600_000)
    assert world.events()[-1] == "emergency"


@pytest.mark.parametrize(
    "broken", [{"expiration_ms": START_MS}, {"activation_ms": START_MS + 1}, {"units": 1}], ids=str
)
def test_it_is_used_where_no_ordinary_licence_is_valid(broken: dict[str, int]) -> None:
    emergency = item(9, 1, emergency=True, usage_s=3600, units=5)
    assert World(item(1, **broken), emergency).grant(units=2).emergency


def test_it_helps_nobody_whom_a_rule_or_the_version_keeps_out() -> None:
    world = World(item(1, feature_map=0), EMERGENCY)
    assert world.grant(features=1).reason == "feature-missing"
    world.rules(Rule("no", "deny", SubjectMatch(users=("eve",))))
    assert world.grant(user="eve").reason == "access-denied"
    world.rules(Rule("few", "limit", SubjectMatch(users=("eve",)), 1))
    world.grant(user="eve")
    assert world.grant(user="eve").rule == "few"
    assert world.ledger.first_use_ms(key(9)) is None


def test_a_denied_request_does_not_start_it() -> None:
    world = World(item(1, 1, feature_map=1), EMERGENCY)
    world.grant()
    assert world.grant(features=1).reason == "no-more-licences"
    assert world.ledger.first_use_ms(key(9)) is None


def test_who_waits_gets_it_once_the_ordinary_licence_is_full_instead_of_reserved() -> None:
    world = World(item(1, 2), item(9, 2, emergency=True, usage_s=60))
    world.rules(Rule("ours", "reserve", SubjectMatch(users=("vip",)), 1))
    world.grant()
    place = world.grant(user="bob", wait=True)
    assert place.position == 1
    took = world.grant(user="vip")
    assert [(one.session, one.emergency) for one in took.promoted] == [(place.session, True)]
