# SPDX-License-Identifier: Apache-2.0
"""An idempotency key stands for one request: whatever else comes with it changes nothing."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.ledger.world import World, item
from tmr.ledger import Denied, Granted

HOUR_S = 3600


def world() -> World:
    return World(item(quantity=5, units=10, borrow_s=HOUR_S, feature_map=3))


@pytest.mark.parametrize(
    "other",
    [
        {"mode": "exclusive"},
        {"ttl": 61},
        {"station": "there"},
        {"user": "eve"},
        {"units": 1},
        {"features": 1},
        {"instance": "two"},
        {"released_ms": 1},
        {"only": (2, None)},
        {"product_code": 7},
    ],
)
def test_another_request_for_a_session(other: dict[str, Any]) -> None:
    made = world()
    asked = made.asking(instance="one")
    first = made.do(asked)
    assert isinstance(first, Granted)
    denied = made.do(replace(asked, session="s-other", **other))
    assert isinstance(denied, Denied)
    assert denied.reason == "conflicting-key"
    assert made.seats() == 1
    assert made.do(replace(asked, session="s-again")) == first, "the retry is answered as before"
    assert made.seats() == 1


def test_other_units_or_another_session_under_the_same_key() -> None:
    made = world()
    one, two = made.grant().session, made.grant().session
    taken = made.consume(one, 3, request_id="key")
    assert made.consume(one, 4, request_id="key").reason == "conflicting-key"
    assert made.consume(two, 3, request_id="key").reason == "conflicting-key"
    assert made.consume(one, 3, request_id="key") == taken
    assert taken.remaining == 7
    assert made.ledger.remaining(item(units=10)) == 7


@pytest.mark.parametrize("other", [{"borrower": "11" * 32}, {"station": "there"}, {"user": "eve"}])
def test_another_borrower_under_the_same_key(other: dict[str, Any]) -> None:
    made = world()
    made.borrow(60, request_id="key")
    assert made.borrow(60, request_id="key", **other).reason == "conflicting-key"
    assert made.seats() == 1


def test_a_key_of_one_kind_of_request_is_none_of_another() -> None:
    made = world()
    session = made.grant(request_id="key").session
    assert made.consume(session, 1, request_id="key").reason == "conflicting-key"
    assert made.borrow(60, request_id="key").reason == "conflicting-key"


def test_the_same_key_of_another_client_is_another() -> None:
    made = world()
    made.grant(request_id="key")
    made.grant(request_id="key", client="bob")
    assert made.seats() == 2


def test_a_borrowing_that_was_returned_is_not_returned_twice() -> None:
    """The seat that came back may be somebody else's by then."""
    made = world()
    borrow = made.borrow(60).borrow
    assert made.give_back(borrow, "alice").existed
    made.borrow(60)
    assert not made.give_back(borrow, "alice").existed
    assert made.seats() == 1
