# SPDX-License-Identifier: Apache-2.0
"""The car plant: its files agree, each run is the same, and what is wrong with a minute is found."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from demo.plant import verdict, workload
from demo.plant.records import Attempt, attempts
from testbed.workload.operations import Operation, Verb
from tmr.cli.vendor.item_file import read_items
from tmr.ledger import AccessList, mistakes

FILES = Path(__file__).resolve().parents[3] / "demo/plant"
PLANT = workload.read((FILES / "stations.toml").read_text())
ACCESS: dict[str, Any] = tomllib.loads((FILES / "access.toml").read_text())
NORTH, SOUTH = PLANT.sites["north"], PLANT.sites["south"]


def held(begin: float, end: float, **named: Any) -> Attempt:
    """A seat of the Weld Planner that was taken in between, at a station in the south."""
    usual = Attempt("south-weld-01", "south", SOUTH, "weld-s01", 2003, "user-limit", begin)
    return replace(usual, answered=begin, granted=begin, ended=end, tmr_id=4, **named)


# -- the files ---------------------------------------------------------------------------------------------


def test_twelve_products_four_hundred_seats() -> None:
    licences = read_items(FILES / "items.toml")
    assert len({licence.product_code for licence in licences}) == 12
    assert sum(licence.quantity or 0 for licence in licences) == 400
    assert any(licence.emergency for licence in licences)
    assert sum(licence.units is not None for licence in licences) == 2


def test_the_access_list_is_right() -> None:
    assert mistakes(msgspec.convert(ACCESS, AccessList)) == []
    assert {rule["effect"] for rule in ACCESS["rules"]} == {"allow", "deny", "limit", "reserve"}


def test_two_hundred_stations_use_what_the_vendor_issued() -> None:
    issued = {licence.product_code for licence in read_items(FILES / "items.toml")}
    used = {use.product for client in PLANT.plan.clients for use, _ in client.uses}
    assert len(PLANT.stations) == 200
    assert used == issued


# -- attempts ----------------------------------------------------------------------------------------------


CLIENT = next(client for client in PLANT.plan.clients if client.station == "south-weld-01")


def operation(verb: Verb, sent: float, **named: Any) -> Operation:
    """An operation of a station that is answered a tenth of a second later."""
    usual: dict[str, Any] = {"answered": sent + 0.1, "mode": "user-limit", "session": "s"} | named
    return Operation(CLIENT.name, int(sent * 10), verb, 2003, usual.pop("key", ""), sent, **usual)


def test_an_attempt_is_the_request_and_what_became_of_its_session() -> None:
    (found,) = attempts(
        [
            operation("wait", 1.0, key="k", outcome="waiting"),
            operation("wait", 2.0, key="k", outcome="granted", units=16, tmr_id=4, in_use=3),
            operation("heartbeat", 3.0, outcome="alive"),
            operation("consume", 4.0, outcome="consumed", units=8),
            operation("release", 5.0, outcome="freed"),
        ],
        PLANT,
    )
    usual = Attempt("south-weld-01", "south", SOUTH, "weld-s01", 2003, "user-limit", 1.0)
    assert found == replace(
        usual, answered=2.1, queued=1.1, granted=2.1, ended=5.0, tmr_id=4, in_use=3, units=24, wanted_units=16
    )


def test_a_refusal_has_its_reason_and_a_place_that_was_left_is_one() -> None:
    denied, left = attempts(
        [
            operation("checkout", 1.0, key="a", outcome="refused", problem="access-denied", session=""),
            operation("wait", 2.0, key="b", outcome="waiting", units=16),
            operation("release", 3.0, outcome="freed"),
        ],
        PLANT,
    )
    assert (denied.denied, denied.held, denied.error) == ("access-denied", False, "")
    assert (left.denied, left.waited, left.error) == ("left-the-queue", 3.0 - 2.1, "")
    assert (left.left, left.wanted_units, left.units) == (True, 16, 0)
    (figure,) = verdict.figures([denied, left], {(2003, 4): 2}, 60.0)
    assert (figure.units, figure.left) == (0, (16,))


@pytest.mark.parametrize(
    "wrong",
    [
        operation("heartbeat", 3.0, outcome="gone", problem="session-ended"),
        operation("consume", 3.0, outcome="refused", problem="no-units"),
        operation("release", 3.0, answered=None),
        operation("checkout", 1.0, key="k", answered=None, given_up=31.0, session="", problem="NoService"),
    ],
    ids=lambda wrong: str(wrong.verb),
)
def test_anything_else_is_an_error(wrong: Operation) -> None:
    granted = operation("checkout", 1.0, key="k", outcome="granted")
    (found,) = attempts([*([] if wrong.key else [granted]), wrong], PLANT)
    assert (wrong.problem or "no answer") in found.error


# -- figures -----------------------------------------------------------------------------------------------


def test_a_peak_is_what_was_taken_at_one_moment() -> None:
    assert verdict.peak([held(0, 4), held(1, 2), held(2, 3), held(5, 6)]) == 2
    assert verdict.peak([]) == 0


def test_a_station_shares_a_seat_with_itself_alone() -> None:
    one = [held(0, 4, mode="station-share"), held(1, 6, mode="station-share")]
    other = [replace(held(2, 3, mode="station-share"), station="south-weld-02")]
    assert verdict.peak(one) == 1
    assert verdict.peak([*one, *other]) == 2
    (figures,) = verdict.figures([*one, *other], {(2003, 4): 2}, 10.0)
    assert figures.use == pytest.approx(7 / 20)


def test_denials_are_counted_by_reason_and_rule() -> None:
    refused = replace(
        held(0, 0), granted=None, ended=None, denied="access-denied", code=231, rule="weld-south"
    )
    taken = replace(refused, denied="no-more-licences", code=212, rule="")
    found = verdict.denials([refused, taken, refused, held(0, 1)])
    assert [(denial.rule, denial.count) for denial in found] == [("weld-south", 2), ("", 1)]
    (figures,) = verdict.figures([refused, taken, held(0, 1)], {(2003, 4): 2}, 10.0)
    assert (figures.asked, figures.granted, figures.by_rule, figures.no_seat) == (3, 1, 1, 1)


# -- what is wrong is found --------------------------------------------------------------------------------


def test_too_many_seats() -> None:
    seats = {(2003, 4): 1}
    assert verdict.overfull([held(0, 2), held(2, 3)], seats) == []
    assert verdict.overfull([held(0, 2), held(1, 3)], seats) == ["2 of 1 seats of 2003 #4"]
    assert verdict.overfull([held(0, 2, in_use=2)], seats) == ["2 of 1 seats of 2003 #4"], (
        "the server's count"
    )


def rules(*attempts: Attempt, seats: int = 50) -> list[str]:
    """What the plant's rules say against it."""
    return verdict.against_rules(attempts, ACCESS, {(a.product, a.tmr_id): seats for a in attempts})


def number(effect: str, product: int) -> int:
    """Seats of the rule."""
    (found,) = [r["seats"] for r in ACCESS["rules"] if (r["effect"], r["product_code"]) == (effect, product)]
    return int(found)


def test_nobody_gets_past_a_limit() -> None:
    south = [held(0, 9) for _ in range(number("limit", 2003))]
    north = replace(held(0, 9), address=NORTH)
    assert rules(*south, north, north) == []
    assert "weld-south" in rules(*south, held(8, 9))[0]


def test_nobody_takes_what_is_reserved_for_others() -> None:
    south = [held(0, 9, product=2002) for _ in range(50 - number("reserve", 2002))]
    north = replace(south[0], address=NORTH)
    assert rules(*south, *[north] * number("reserve", 2002)) == []
    assert "press-for-north" in rules(*south, held(8, 9, product=2002))[0]


def test_nobody_who_is_denied_is_admitted() -> None:
    assert rules(held(0, 1, product=2007)) == []
    assert "interns-no-solver" in rules(held(0, 1, product=2007, user="intern-s08"))[0]


def test_nobody_but_those_who_are_allowed() -> None:
    assert rules(held(0, 1, product=2004, station="south-paint-01")) == []
    assert "paint-shops-only" in rules(held(0, 1, product=2004))[0]


def test_nobody_is_refused_by_a_rule_about_others() -> None:
    refused = replace(held(0, 0), granted=None, ended=None, denied="access-denied", rule="weld-south")
    assert rules(refused) == []
    assert rules(replace(refused, address=NORTH)) == ["'weld-south' refused weld-s01@south-weld-01"]
