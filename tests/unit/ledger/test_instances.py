# SPDX-License-Identifier: Apache-2.0
"""An application that crashed and asks again from the same place replaces the session that it had."""

from tests.unit.ledger.world import World, item
from tmr.ledger import Granted


def test_it_takes_no_second_seat() -> None:
    world = World(item())
    first = world.grant(instance="editor")
    second = world.grant(instance="editor")
    assert (second.replaced, second.in_use) == (first.session, 1)
    ended = world.ledger.ended[first.session]
    assert (ended.by, ended.who) == ("replaced", second.session)
    assert world.events() == ["granted", "replaced", "granted"]


def test_it_keeps_its_seat_before_all_who_wait() -> None:
    world = World(item())
    world.grant(instance="editor")
    place = world.grant(wait=True, client="bob").session
    assert isinstance(world.grant(instance="editor"), Granted)
    assert place in world.ledger.waiting


def test_but_not_for_another_kind_of_access() -> None:
    world = World(item())
    free = world.grant(mode="no-user-limit", instance="editor").session
    world.grant(client="carol")
    place = world.grant(wait=True, client="bob").session
    again = world.grant(instance="editor", wait=True)
    assert (again.position, world.ledger.position(place)) == (2, 1)
    assert free not in world.ledger.sessions


def test_others_are_other_instances() -> None:
    world = World(item(quantity=9))
    world.grant(instance="editor")
    for other in ({"station": "there"}, {"client": "bob"}, {"instance": "viewer"}, {"instance": ""}):
        assert world.grant(**{"instance": "editor", **other}).replaced == ""


def test_its_place_is_given_to_its_successor_at_the_end() -> None:
    world = World(item(quantity=2))
    world.grant(client="bob")
    first = world.grant(mode="exclusive", instance="editor", wait=True).session
    behind = world.grant(client="carol", wait=True).session
    again = world.grant(mode="exclusive", instance="editor", wait=True)
    assert [one.session for one in again.promoted] == [behind] or behind in world.ledger.sessions
    assert first not in world.ledger.waiting
    assert again.position == 1


def test_a_retry_of_the_old_request_replaces_nothing() -> None:
    world = World(item())
    old = world.asking(instance="editor")
    world.do(old)
    new = world.grant(instance="editor")
    assert world.do(old).session == old.session  # type: ignore[union-attr]
    assert list(world.ledger.sessions) == [new.session]
