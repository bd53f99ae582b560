# SPDX-License-Identifier: Apache-2.0
"""The Unit Counter: taken exactly once, never below nothing."""

from tests.unit.ledger.world import World, item
from tmr.ledger import Consume


def test_units_are_taken_until_none_remain() -> None:
    world = World(item(units=10))
    session = world.grant(units=3)
    assert session.remaining == 7
    assert world.consume(session.session, 7).remaining == 0
    assert world.consume(session.session, 1).reason == "not-enough-units"
    assert world.events() == ["granted", "units", "units", "denied"]


def test_a_retry_takes_nothing_and_is_answered_alike() -> None:
    world = World(item(units=10))
    session = world.grant().session
    first = world.consume(session, 4, request_id="one")
    assert world.consume(session, 4, request_id="one") == first
    assert world.ledger.remaining(item(units=10)) == 6
    assert world.consume(session, 5, request_id="one").reason == "conflicting-key"
    assert world.grant(request_id="one").reason == "conflicting-key"


def test_what_was_denied_once_is_not_taken_by_a_late_retry() -> None:
    world = World(item(units=1))
    session = world.grant().session
    assert world.consume(session, 2, request_id="one").reason == "not-enough-units"
    world.update(item(units=5))
    assert world.consume(session, 2, request_id="one").reason == "not-enough-units"
    assert world.consume(session, 2).remaining == 3


def test_a_grant_takes_its_units_or_is_none() -> None:
    world = World(item(units=2))
    assert world.grant(units=3).reason == "not-enough-units"
    assert world.seats() == 0
    assert World(item()).grant(units=1).reason == "not-enough-units"


def test_a_refill_adds_to_what_remains() -> None:
    world = World(item(units=5))
    session = world.grant(units=5).session
    world.update(item(units=8))
    assert world.consume(session, 1).remaining == 2
    world.update(item(units=3))
    assert world.ledger.remaining(item(units=3)) == 0
    assert world.consume(session, 1).reason == "not-enough-units"


def test_units_belong_to_the_session_of_a_client() -> None:
    world = World(item(units=5))
    session = world.grant().session
    assert world.consume(session, 1, client="eve").reason == "session-lost"
    world.free(session)
    assert world.consume(session, 1).reason == "session-lost"
    assert world.events().count("denied") == 0


def test_review_tells_of_a_denial_without_a_command() -> None:
    world = World(item(units=5))
    session = world.grant().session
    denied = world.ledger.review(Consume("one", "alice", session, 6), world.now)
    assert denied is not None
    assert denied.reason == "not-enough-units"
    assert world.ledger.review(Consume("two", "alice", session, 5), world.now) is None


def test_who_waits_for_units_that_are_gone_is_told() -> None:
    world = World(item(units=5))
    session = world.grant().session
    asked = world.asking(units=3, wait=True)
    world.do(asked)
    world.consume(session, 3)
    assert not world.ledger.waiting
    assert world.do(asked).reason == "not-enough-units"  # type: ignore[union-attr]
