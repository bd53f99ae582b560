# SPDX-License-Identifier: Apache-2.0
"""A seat stays its holder's for the Linger Time; a named user's seat is that of a person."""

import pytest

from tests.unit.ledger.world import MINUTE, START_MS, World, item, key
from tmr.ledger import Denied, Free, Granted, Ledger, Waiting
from tmr.ledger import seats as limits
from tmr.licensing import BadItem

LINGERS = item(linger_s=60)


def test_a_seat_that_was_given_back_is_taken_until_its_time_is_over() -> None:
    world = World(LINGERS)
    world.free(world.grant().session)
    assert world.seats() == 1
    world.pass_time(MINUTE - 1)
    refused = world.grant(client="bob")
    assert refused.reason == "no-more-licences"
    assert refused.detail == "1 of 1 seat of 6000010:1001 TMR-Id 1 is in use"
    world.pass_time(1)
    assert isinstance(world.grant(client="bob"), Granted)


def test_nobody_is_refused_for_a_seat_whose_time_is_over() -> None:
    world = World(LINGERS)
    world.free(world.grant().session)
    asked = world.asking(client="bob")
    assert world.ledger.review(asked, world.now + MINUTE - 1) is not None
    assert not world.ledger.ripe(world.now + MINUTE - 1)
    for _ in range(2):
        assert world.ledger.review(asked, world.now + MINUTE) is None
        assert world.ledger.reviews(asked, world.now + MINUTE) == [(key(), None)]
    assert world.ledger.ripe(world.now + MINUTE)


def test_the_holder_is_explained_that_the_seat_is_there() -> None:
    world = World(LINGERS)
    world.free(world.grant().session)
    assert world.ledger.reviews(world.asking(), world.now) == [(key(), None)]
    ((_, denied),) = world.ledger.reviews(world.asking(client="bob"), world.now)
    assert denied is not None and denied.reason == "no-more-licences"


@pytest.mark.parametrize("other", [{"client": "bob"}, {"user": "bob"}, {"station": "there"}])
def test_only_its_holder_has_it_again(other: dict[str, str]) -> None:
    world = World(LINGERS)
    world.free(world.grant().session)
    assert world.grant(**other).reason == "no-more-licences"
    assert isinstance(world.grant(), Granted)
    assert world.seats() == 1
    assert world.ledger.lingering(key()) == []


def test_the_holder_comes_before_those_who_wait() -> None:
    world = World(LINGERS)
    first = world.grant().session
    assert isinstance(world.grant(client="bob", wait=True), Waiting)
    world.free(first)
    again = world.grant()
    assert isinstance(again, Granted)
    world.free(again.session)
    world.pass_time(MINUTE)
    assert world.ledger.ripe(world.now)
    world.free("nothing")
    assert [held.client for held in world.ledger.holders(key())] == ["bob"]


def test_a_place_in_the_queue_becomes_the_own_seat_at_once() -> None:
    world = World(LINGERS)
    first, waiting = world.grant().session, world.grant(wait=True)
    assert isinstance(waiting, Waiting)
    (promoted,) = world.free(first).promoted
    assert promoted.session == waiting.session


@pytest.mark.parametrize(("by", "seats"), [("expiry", 1), ("operator", 0), ("licence-expired", 0)])
def test_ends_after_which_a_seat_is_kept(by: str, seats: int) -> None:
    world = World(LINGERS)
    world.do(Free(world.grant().session, None, by, "olga" if by == "operator" else ""))  # type: ignore[arg-type]
    assert world.seats() == seats


def test_a_replaced_instance_leaves_nothing() -> None:
    world = World(item(quantity=2, linger_s=60))
    for _ in range(3):
        assert isinstance(world.grant(instance="one"), Granted)
    assert world.seats() == 1


def test_a_holder_who_may_not_use_the_licence_keeps_the_seat_as_it_was() -> None:
    world = World(LINGERS)
    world.free(world.grant().session)
    assert world.grant(features=1).reason == "feature-missing"
    assert world.ledger.lingering(key())[0].until_ms == START_MS + MINUTE


def test_who_wants_to_be_alone_waits_for_it_and_its_holder_need_not() -> None:
    world = World(item(quantity=2, linger_s=60))
    world.free(world.grant().session)
    told = world.grant(client="bob", mode="exclusive")
    assert "0 sessions and 0 borrowings are in use, and 1 seat kept for the Linger Time" in told.detail
    assert isinstance(world.grant(mode="exclusive"), Granted)


def test_the_last_who_shares_a_seat_leaves_it() -> None:
    world = World(LINGERS)
    one, two = (world.grant(mode="station-share").session for _ in range(2))
    world.free(one)
    assert world.ledger.lingering(key()) == []
    world.free(two)
    assert len(world.ledger.lingering(key())) == 1
    world.free(world.grant(mode="no-user-limit").session)
    assert len(world.ledger.lingering(key())) == 1


def test_kept_seats_are_in_a_snapshot_in_one_order() -> None:
    world = World(item(quantity=3, linger_s=60))
    for session in [world.grant(station=f"s{n}").session for n in (2, 1, 3)]:
        world.free(session)
    other = Ledger()
    other.restore(world.ledger.snapshot())
    assert other.digest() == world.ledger.digest()
    assert world.ledger.review(world.asking(station="s1", features=1), world.now) is not None
    assert world.ledger.review(world.asking(station="s1"), world.now) is None
    assert other.snapshot() == world.ledger.snapshot()


def test_seats_beyond_the_limit_come_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LINGERING", 4)
    world = World(item(quantity=9, linger_s=60))
    for client, kept in (("alice", 2), ("bob", 4), ("carol", 4)):
        for session in [world.grant(client=client, station=f"s{n}").session for n in range(3)]:
            world.free(session)
        assert world.seats() == kept


def test_seats_that_are_not_counted_cannot_be_kept() -> None:
    with pytest.raises(BadItem, match="its seats are not counted"):
        item(quantity=None, linger_s=60)


# -- named users -------------------------------------------------------------------------------------------


def test_a_user_takes_one_seat_everywhere() -> None:
    world = World(item(quantity=2, named_user=True))
    for station in ("here", "there", "elsewhere"):
        for client in ("alice", "laptop"):
            assert isinstance(world.grant(client=client, station=station), Granted)
    assert world.seats() == 1
    assert isinstance(world.grant(user="bob"), Granted)
    assert world.grant(user="carol").reason == "no-more-licences"


def test_the_seat_is_free_when_the_last_session_ends() -> None:
    world = World(item(named_user=True))
    one, two = (world.grant(station=where).session for where in ("here", "there"))
    world.free(one)
    assert world.grant(user="bob").reason == "no-more-licences"
    world.free(two)
    assert isinstance(world.grant(user="bob"), Granted)


def test_all_who_wait_of_one_user_have_the_seat_together() -> None:
    world = World(item(named_user=True))
    first = world.grant(user="bob").session
    waiting = [world.grant(station=where, wait=True).session for where in ("here", "there")]
    assert [one.session for one in world.free(first).promoted] == waiting


def test_a_request_without_a_user_is_told_so() -> None:
    world = World(item(quantity=2, named_user=True, borrow_s=60))
    asked = [world.grant(user="", mode=mode) for mode in ("user-limit", "no-user-limit")]
    for denied in (*asked, world.borrow(60, user="")):
        assert isinstance(denied, Denied)
        assert (denied.reason, "names no user" in denied.detail) == ("access-denied", True)


def test_a_named_user_has_the_seat_again_anywhere() -> None:
    world = World(item(named_user=True, linger_s=60))
    world.free(world.grant().session)
    assert world.grant(user="bob").reason == "no-more-licences"
    assert isinstance(world.grant(client="laptop", station="there"), Granted)


def test_sessions_keep_the_kind_of_seat_that_they_began_with() -> None:
    world = World(item(quantity=3, named_user=True))
    one, two = (world.grant(station=where).session for where in ("here", "there"))
    world.update(item(quantity=3))
    three = world.grant().session
    assert world.seats() == 2
    for session, seats in ((one, 2), (three, 1), (two, 0)):
        world.free(session)
        assert world.seats() == seats
