# SPDX-License-Identifier: Apache-2.0
"""The Maintenance Period is about when the version of the application was released."""

import pytest

from tests.unit.ledger.world import World, item

PERIOD = {"maintenance_start_ms": 1000, "maintenance_end_ms": 2000}


@pytest.mark.parametrize(("released", "fits"), [(999, False), (1000, True), (1999, True), (2000, False)])
def test_versions_released_within_it_may_use_the_licence(released: int, fits: bool) -> None:
    outcome = World(item(**PERIOD)).grant(released_ms=released)
    assert getattr(outcome, "reason", None) == (None if fits else "maintenance-ended")


def test_a_version_that_does_not_say_is_not_checked() -> None:
    assert World(item(**PERIOD)).grant().in_use == 1


def test_an_old_version_gets_another_licence_of_the_product() -> None:
    world = World(item(1, maintenance_start_ms=1000), item(2))
    assert world.grant(released_ms=1).key.tmr_id == 2
