# SPDX-License-Identifier: Apache-2.0
"""First come first served, within the access rules."""

import pytest
from msgspec.structs import replace

from tests.unit.ledger.world import World, item, key
from tmr.ledger import Granted, Rule, SubjectMatch, Waiting, queue


def test_seats_go_to_who_came_first() -> None:
    world = World(item())
    held = world.grant().session
    places = [world.grant(wait=True) for _ in range(3)]
    assert [place.position for place in places] == [1, 2, 3]
    for place in places:
        freed = world.free(held)
        assert [one.session for one in freed.promoted] == [place.session]
        held = place.session
    assert not world.ledger.waiting


def test_one_place_for_one_idempotency_key() -> None:
    world = World(item())
    held = world.grant().session
    asked = world.asking(wait=True)
    place = world.do(asked)
    assert isinstance(place, Waiting)
    world.pass_time(1000)
    assert world.do(asked) == place
    assert len(world.ledger.waiting) == 1
    world.free(held)
    again = world.do(asked)
    assert isinstance(again, Granted)
    assert again.session == place.session


def test_who_gives_up_a_place_is_out() -> None:
    world = World(item())
    world.grant()
    asked, behind = world.asking(wait=True), world.asking(wait=True)
    place = world.do(asked)
    world.do(behind)
    assert isinstance(place, Waiting)
    assert world.free(place.session, "eve").reason == "access-denied"
    assert world.free(place.session, "alice").existed
    assert world.ledger.position(behind.session) == 1
    assert world.do(asked).reason == "session-lost"  # type: ignore[union-attr]


def test_what_waiting_cannot_change_is_denied_at_once() -> None:
    world = World(item())
    world.grant()
    assert world.grant(wait=True, features=1).reason == "feature-missing"
    assert world.grant(wait=True, keys=(key(5),)).reason == "entry-not-found"


@pytest.mark.parametrize("mode", ["user-limit", "no-user-limit", "station-share"])
def test_who_waits_to_be_alone_is_not_passed(mode: str) -> None:
    world = World(item(quantity=9))
    shared = world.grant(mode="station-share").session
    alone = world.grant(mode="exclusive", wait=True).session
    assert world.grant(mode=mode).reason == "exclusive-conflict"
    later = world.grant(mode=mode, wait=True).session
    assert [one.session for one in world.free(shared).promoted] == [alone]
    assert [one.session for one in world.free(alone).promoted] == [later]


def test_nobody_is_kept_waiting_for_who_waits_for_something_else() -> None:
    world = World(item())
    world.rules(Rule("one", "limit", SubjectMatch(users=("bob",)), 1))
    held = world.grant(user="carol").session
    first, share, other, join = (
        world.grant(user="bob", wait=True),
        world.grant(mode="station-share", wait=True, user="dan"),
        world.grant(wait=True),
        world.grant(mode="station-share", wait=True, user="dan"),
    )
    world.free(held)
    assert world.ledger.position(share.session) == 1
    promoted = world.free(first.session).promoted
    assert [one.session for one in promoted] == [share.session, join.session]
    assert world.ledger.position(other.session) == 1


def test_all_that_frees_a_seat_serves_the_queue() -> None:
    world = World(item())
    world.grant()
    place = world.grant(wait=True).session
    world.update(item(quantity=2))
    assert place in world.ledger.sessions
    place = world.grant(wait=True).session
    world.update(item(quantity=2), item(2))
    assert place in world.ledger.waiting  # it asked for the licence that there was
    world.rules(Rule("r", "reserve", SubjectMatch(users=("vip",)), 1))
    world.update(item(quantity=3), item(2))
    assert place in world.ledger.waiting
    world.rules()
    assert place in world.ledger.sessions


def test_a_retry_asks_for_what_is_available_by_now() -> None:
    world = World(item(1))
    world.grant()
    asked = world.asking(wait=True)
    world.do(asked)
    world.update(item(1), item(2))
    outcome = world.do(replace(asked, session="another", keys=(key(1), key(2))))
    assert isinstance(outcome, Granted)
    assert (outcome.session, outcome.key) == (asked.session, key(2))


def test_a_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_QUEUE", 2)
    world = World(item())
    world.grant()
    world.grant(wait=True)
    world.grant(wait=True)
    refused = world.asking(wait=True)
    assert world.ledger.review(refused, world.now) is not None
    assert world.do(refused).reason == "no-more-licences"  # type: ignore[union-attr]


def test_places_survive_a_snapshot() -> None:
    world = World(item())
    held = world.grant().session
    places = [world.grant(wait=True).session for _ in range(3)]
    world.ledger.restore(world.ledger.snapshot())
    assert [world.ledger.position(place) for place in places] == [1, 2, 3]
    assert [one.session for one in world.free(held).promoted] == places[:1]
