# SPDX-License-Identifier: Apache-2.0
"""A client that stops waiting is denied, or has the seat that came before: nothing in between."""

from msgspec.structs import replace

from tests.unit.ledger.world import World, item
from tmr.ledger import Denied, Granted, Waiting


def test_who_gives_up_is_told_why_there_is_no_seat() -> None:
    world = World(item())
    world.grant()
    asked = world.asking(wait=True)
    assert isinstance(world.do(asked), Waiting)
    told = world.do(replace(asked, wait=False))
    assert isinstance(told, Denied)
    assert told.reason == "no-more-licences"
    assert not world.ledger.waiting
    assert world.do(asked) == told, "the key stands for this answer from now on"


def test_a_seat_that_came_before_is_not_thrown_away() -> None:
    world = World(item(units=100))
    held = world.grant().session
    asked = world.asking(wait=True, units=16)
    place = world.do(asked)
    assert isinstance(place, Waiting)
    world.free(held)
    granted = world.do(replace(asked, wait=False))
    assert isinstance(granted, Granted)
    assert (granted.session, granted.remaining) == (place.session, 84)


def test_who_gives_up_makes_way() -> None:
    world = World(item(quantity=2))
    world.grant()
    alone, behind = world.asking(wait=True, mode="exclusive"), world.asking(wait=True)
    assert isinstance(world.do(alone), Waiting)
    assert isinstance(world.do(behind), Waiting)
    told = world.do(replace(alone, wait=False))
    assert isinstance(told, Denied)
    assert [one.session for one in told.promoted] == [behind.session]
