# SPDX-License-Identifier: Apache-2.0
"""The four access modes, as CodeMeter has them."""

from tests.unit.ledger.world import World, item
from tmr.ledger import Denied, Granted


def test_each_session_takes_a_seat_until_none_is_free() -> None:
    world = World(item(quantity=2))
    first, second = world.grant(), world.grant()
    assert (first.in_use, second.in_use, second.quantity) == (1, 2, 2)
    assert world.grant().reason == "no-more-licences"
    world.free(first.session)
    assert isinstance(world.grant(), Granted)


def test_an_unlimited_licence_never_runs_out() -> None:
    world = World(item(quantity=None))
    assert [world.grant().in_use for _ in range(20)] == list(range(1, 21))


def test_no_user_limit_takes_no_seat() -> None:
    world = World(item(quantity=1))
    world.grant()
    assert isinstance(world.grant(mode="no-user-limit"), Granted)
    assert world.seats() == 1


def test_sessions_of_one_station_and_client_share_a_seat() -> None:
    world = World(item(quantity=1))
    first = world.grant(mode="station-share", station="here")
    second = world.grant(mode="station-share", station="here")
    assert (second.in_use, world.seats()) == (1, 1)
    assert world.grant(mode="station-share", station="there").reason == "no-more-licences"
    assert world.grant(mode="station-share", station="here", client="bob").reason == "no-more-licences"
    world.free(first.session)
    assert world.seats() == 1
    world.free(second.session)
    assert world.seats() == 0


def test_the_sole_holder_keeps_everybody_out() -> None:
    world = World(item(quantity=5))
    alone = world.grant(mode="exclusive")
    for mode in ("user-limit", "no-user-limit", "exclusive", "station-share"):
        denied = world.grant(mode=mode)
        assert (denied.reason, alone.session in denied.detail) == ("exclusive-conflict", True)
    world.free(alone.session)
    assert isinstance(world.grant(), Granted)


def test_nobody_becomes_sole_holder_of_a_licence_in_use() -> None:
    for mode in ("user-limit", "no-user-limit", "station-share"):
        world = World(item(quantity=5))
        world.grant(mode=mode)
        assert world.grant(mode="exclusive").reason == "exclusive-conflict"
    world = World(item(quantity=5, borrow_s=60))
    world.borrow(60)
    assert world.grant(mode="exclusive").reason == "exclusive-conflict"


def test_the_licences_of_a_product_are_tried_in_their_order() -> None:
    world = World(item(1, 1), item(2, 1))
    assert [world.grant().key.tmr_id for _ in range(2)] == [1, 2]
    assert isinstance(world.grant(), Denied)


def test_an_update_that_lowers_the_quantity_ends_no_session() -> None:
    world = World(item(quantity=3))
    held = [world.grant().session for _ in range(3)]
    world.update(item(quantity=1))
    assert world.seats() == 3
    for session in held[:2]:
        world.free(session)
        assert world.grant().reason == "no-more-licences"
    world.free(held[2])
    assert isinstance(world.grant(), Granted)


def test_sessions_outlive_a_licence_that_is_taken_away() -> None:
    world = World(item())
    session = world.grant().session
    world.update()
    assert world.grant(keys=()).reason == "entry-not-found"
    world.update(item())
    assert world.grant().reason == "no-more-licences"
    assert world.free(session).existed
