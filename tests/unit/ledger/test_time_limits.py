# SPDX-License-Identifier: Apache-2.0
"""Activation Time and Expiration Time, judged by certified time."""

from tests.unit.ledger.world import START_MS, World, item
from tmr.ledger import Granted


def test_a_licence_is_valid_from_its_activation_time_on() -> None:
    world = World(item(activation_ms=START_MS + 1000))
    world.pass_time(999)
    assert world.grant().reason == "licence-not-active"
    world.pass_time(1)
    assert isinstance(world.grant(), Granted)


def test_a_licence_is_valid_up_to_its_expiration_time() -> None:
    world = World(item(quantity=2, expiration_ms=START_MS + 1000))
    world.pass_time(999)
    assert world.grant().ends_ms == START_MS + 1000
    world.pass_time(1)
    denied = world.grant()
    assert denied.reason == "licence-expired"
    assert "2027-01-15 08:00:01 UTC" in denied.detail


def test_the_next_licence_of_the_product_is_tried() -> None:
    world = World(item(1, expiration_ms=START_MS), item(2))
    assert world.grant().key.tmr_id == 2


def test_who_waits_gets_the_licence_that_becomes_valid() -> None:
    world = World(item(1), item(2, activation_ms=START_MS + 1000))
    world.grant()
    place = world.grant(wait=True).session
    assert not world.ledger.ripe(START_MS + 999)
    assert world.ledger.ripe(START_MS + 1000)
    world.pass_time(1000)
    newcomer = world.grant()
    assert [promoted.session for promoted in newcomer.promoted] == [place]
    assert newcomer.reason == "no-more-licences"
    assert not world.ledger.ripe(world.now)


def test_who_waits_for_a_licence_that_expires_is_told() -> None:
    world = World(item(expiration_ms=START_MS + 1000))
    world.grant()
    asked = world.asking(wait=True)
    world.do(asked)
    world.pass_time(1000)
    assert world.ledger.ripe(world.now)
    assert world.do(asked).reason == "licence-expired"  # type: ignore[union-attr]
    assert not world.ledger.waiting
