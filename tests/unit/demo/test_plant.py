# SPDX-License-Identifier: Apache-2.0
"""The car plant: its files agree, each run is the same, and what is wrong with a minute is found."""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from demo.plant import records, verdict, workload
from demo.plant.records import Attempt
from tmr.cli.vendor.item_file import read_items
from tmr.ledger import AccessList, mistakes

PLANT = Path(__file__).resolve().parents[3] / "demo/plant"
PLAN = workload.read((PLANT / "stations.toml").read_text())
ACCESS: dict[str, Any] = tomllib.loads((PLANT / "access.toml").read_text())
NORTH, SOUTH = PLAN.sites["north"], PLAN.sites["south"]


def held(begin: float, end: float, **named: Any) -> Attempt:
    """A seat of the Weld Planner that was taken in between, at a station in the south."""
    usual = Attempt("south-weld-01", "south", SOUTH, "weld-s01", 2003, "user-limit", begin)
    return replace(usual, answered=begin, granted=begin, ended=end, tmr_id=4, **named)


# -- the files ---------------------------------------------------------------------------------------------


def test_twelve_products_four_hundred_seats() -> None:
    licences = read_items(PLANT / "items.toml")
    assert len({licence.product_code for licence in licences}) == 12
    assert sum(licence.quantity or 0 for licence in licences) == 400
    assert any(licence.emergency for licence in licences)
    assert sum(licence.units is not None for licence in licences) == 2


def test_the_access_list_is_right() -> None:
    assert mistakes(msgspec.convert(ACCESS, AccessList)) == []
    assert {rule["effect"] for rule in ACCESS["rules"]} == {"allow", "deny", "limit", "reserve"}


def test_two_hundred_stations_use_what_the_vendor_issued() -> None:
    issued = {licence.product_code for licence in read_items(PLANT / "items.toml")}
    used = {program.product for station in PLAN.stations for program, _ in station.programs}
    assert len({station.name for station in PLAN.stations}) == 200
    assert used == issued


def test_each_run_is_the_same_and_each_station_is_different() -> None:
    def jobs(number: int) -> list[workload.Job]:
        return list(itertools.islice(PLAN.jobs(PLAN.stations[number], 0), 20))

    assert jobs(0) == jobs(0)
    assert jobs(0) != jobs(1)
    assert all(job.hold <= 3 * job.program.hold and job.pause <= 3 * PLAN.pause for job in jobs(0))


def test_what_is_written_is_read() -> None:
    attempts = [held(1.0, 2.0), replace(held(3.0, 4.0), denied="access-denied", code=231, rule="weld-south")]
    assert records.read(records.write(attempts)) == attempts


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
