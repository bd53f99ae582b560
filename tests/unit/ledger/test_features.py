# SPDX-License-Identifier: Apache-2.0
"""Bits of the Feature Map."""

from tests.unit.ledger.world import World, item


def test_all_bits_that_are_asked_for_must_be_there() -> None:
    world = World(item(quantity=9, feature_map=0b101))
    assert world.grant(features=0b101).in_use == 1
    assert world.grant(features=0b100).in_use == 2
    denied = world.grant(features=0b111)
    assert (denied.reason, denied.detail.endswith("lacks the bits 1")) == ("feature-missing", True)


def test_the_licence_that_has_them_is_found() -> None:
    world = World(item(1, feature_map=1), item(2, feature_map=3))
    assert world.grant(features=2).key.tmr_id == 2


def test_who_waits_for_features_that_an_update_takes_away_is_told() -> None:
    world = World(item(feature_map=1))
    world.grant()
    asked = world.asking(features=1, wait=True)
    world.do(asked)
    world.update(item(feature_map=0))
    assert world.do(asked).reason == "feature-missing"  # type: ignore[union-attr]
