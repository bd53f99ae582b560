# SPDX-License-Identifier: Apache-2.0
"""A borrowed seat is out of the network for a bounded time."""

from tests.unit.ledger.world import MINUTE, START_MS, World, item
from tmr.ledger import GiveBack

HOUR_S = 3600


def test_it_is_counted_until_it_comes_back() -> None:
    world = World(item(quantity=1, borrow_s=HOUR_S))
    lent = world.borrow(HOUR_S)
    assert (lent.from_ms, lent.until_ms, lent.in_use) == (START_MS, START_MS + HOUR_S * 1000, 1)
    assert world.grant().reason == "no-more-licences"
    place = world.grant(wait=True).session
    assert [one.session for one in world.give_back(lent.borrow, "alice").promoted] == [place]
    assert not world.give_back(lent.borrow).existed


def test_it_is_due_a_minute_after_its_end() -> None:
    world = World(item(quantity=3, borrow_s=HOUR_S))
    late, soon = world.borrow(120), world.borrow(60)
    assert world.ledger.due(soon.until_ms + MINUTE - 1) == []
    assert world.ledger.due(soon.until_ms + MINUTE) == [soon.borrow]
    assert world.ledger.due(late.until_ms + MINUTE) == [soon.borrow, late.borrow]
    world.do(GiveBack(soon.borrow, None, "expiry"))
    assert world.ledger.due(late.until_ms + MINUTE) == [late.borrow]


def test_the_licence_says_whether_how_long_and_how_many() -> None:
    assert World(item()).borrow(60).reason == "borrow-failed"
    world = World(item(quantity=5, borrow_s=60, borrow_seats=1))
    assert world.borrow(61).reason == "borrow-failed"
    world.borrow(60)
    assert world.borrow(60).reason == "borrow-failed"
    assert world.grant().in_use == 2


def test_it_ends_with_the_licence() -> None:
    world = World(item(borrow_s=HOUR_S, expiration_ms=START_MS + 5000))
    assert world.borrow(HOUR_S).until_ms == START_MS + 5000


def test_a_retry_borrows_nothing_and_strangers_return_nothing() -> None:
    world = World(item(quantity=5, borrow_s=HOUR_S))
    first = world.borrow(60, request_id="one")
    assert world.borrow(60, request_id="one") == first
    assert world.borrow(61, request_id="one").reason == "conflicting-key"
    assert world.give_back(first.borrow, "eve").reason == "access-denied"
    assert world.seats() == 1


def test_returned_borrowings_leave_nothing_behind() -> None:
    world = World(item(quantity=5, borrow_s=HOUR_S))
    for _ in range(100):
        world.give_back(world.borrow(HOUR_S).borrow)
    assert len(world.ledger._ledger_state.seats._due) == 0
