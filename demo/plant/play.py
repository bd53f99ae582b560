# SPDX-License-Identifier: Apache-2.0
"""The plant's part of the demo: licences, access rules, and a minute of work with a failover in it."""

from __future__ import annotations

import json
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from demo import licence
from demo.plant import records, report, verdict, workload
from demo.plant.records import Attempt
from demo.plant.verdict import Figures, Licence
from testbed.client_program import ClientProgram
from testbed.fault_injector import boottime
from testbed.operator import Operator
from testbed.site import BIN, KILL, Site
from testbed.steps import Board, Step, check, wait_for
from testbed.workload.plan import Plan
from tmr.api.licences import Item

STEPS = 4
_HERE = Path(__file__).parent
_READY_S = 60.0
_LOOK_S = 0.5


@dataclass
class Minute:
    """Results of the minute. `peaks`: most seats in use of each licence, as the server showed them."""

    plant: workload.Plant
    attempts: list[Attempt]
    seats: dict[Licence, int]
    names: dict[int, str]
    figures: list[Figures]
    peaks: dict[Licence, int]
    terms: list[str]
    killed: str
    slowest: float

    def tables(self) -> None:
        """Print them."""
        print(f"The plant's {self.plant.plan.seconds:.0f} s, by product:\n")
        report.show(report.products(self.figures, self.names))
        print()
        for one in self.figures:
            if one.emergencies:
                name = self.names[one.product]
                print(f"  {name}: {one.emergencies} requests were granted on its emergency licence.")
        print(
            f"  Failovers: {len(self.terms) - 1}, from {self.killed} to {self.terms[-1]}. Errors: 0. "
            f"Longest wait for an answer: {self.slowest:.2f} s.\n"
        )
        report.show(report.refusals(verdict.denials(self.attempts), self.names))
        print()
        report.show(report.sites(self.attempts))


@dataclass(frozen=True)
class Before:
    """State before the minute: the server's time, and the rest of each Unit Counter."""

    units: dict[Licence, int]
    time: datetime


@dataclass
class Watched:
    """The minute as the operator saw it from outside."""

    peaks: dict[Licence, int] = field(default_factory=dict)
    terms: list[str] = field(default_factory=list)
    killed: str = ""


def play(board: Board, site: Site, operator: Operator) -> Minute:
    """All steps of the plant."""
    plant = workload.read((_HERE / "stations.toml").read_text())
    _issue(board, site, operator)
    _rules(board, site, operator)
    minute, before = _work(board, site, operator, plant)
    _judge(board, site, operator, minute, before)
    return minute


# -- licences and rules ------------------------------------------------------------------------------------


def _issue(board: Board, site: Site, operator: Operator) -> None:
    wanted = tomllib.loads((_HERE / "items.toml").read_text())["item"]
    seats = sum(item["quantity"] for item in wanted)
    products = len({item["product"] for item in wanted})
    with board.step(
        f"The licences of a car plant: {products} products, {seats} seats, one update of the vendor",
        f"activated on the three upstreams; clients see {len(wanted)} licences more: seats, units, "
        "borrowing, a reserve for emergencies",
    ) as step:
        known = {item.product_code for item in operator.items()}
        if {item["product"] for item in wanted} <= known:
            step.see("they are there since an earlier run")
        else:
            licence.issue(site, "plant", "--items", str(_HERE / "items.toml"))
            step.see("`tmr vendor issue --items items.toml`: one file, activated on up1, up2 and up3")
        wait_for(lambda: _unserved(operator, seats, len(wanted)), _READY_S, "the licences are served")
        step.quote(site.tmr("list").out)


def _unserved(operator: Operator, seats: int, number: int) -> str:
    items = _plants(operator)
    if len(items) == number and sum(item.quantity or 0 for item in items) == seats:
        return ""
    return f"{len(items)} licences"


def _plants(operator: Operator) -> list[Item]:
    mine = (item for item in operator.items() if item.firm_code == licence.FIRM)
    return [item for item in mine if item.product_code != licence.PRODUCT]


def _rules(board: Board, site: Site, operator: Operator) -> None:
    with board.step(
        "The operator says who may use what, at two sites",
        "the access list is in force; a client that a rule refuses is told which one (code 231)",
    ) as step:
        step.see(_tmr(site, "access", "set", _HERE / "access.toml").strip())
        step.quote(_tmr(site, "access", "show"))
        asked = "explain --firm 6000010 --product 2004 --station north-weld-07 --user weld-n07"
        told = site.tmr(asked)
        check("paint-shops-only" in told.out, f"`tmr {asked}` names no rule: {told.text}")
        step.quote(f"\n$ tmr {asked}\n{told.out}")


def _tmr(site: Site, *words: str | Path) -> str:
    """Output of `tmr` for the operator, in the front network."""
    config = site.names.directory / "pki" / "operator.toml"
    enter = ("ip", "netns", "exec", site.names.fabric)
    return site.must(*enter, BIN / "tmr", "--config", config, *words).out


# -- the minute --------------------------------------------------------------------------------------------


def _work(board: Board, site: Site, operator: Operator, plant: workload.Plant) -> tuple[Minute, Before]:
    with board.step(
        f"{len(plant.stations)} stations work for {plant.plan.seconds:.0f} s; "
        "half-way, kill -9 of the active tmr-server",
        "no station sees an error; the other twin takes over",
    ) as step:
        before = Before(_units(operator), operator.certified_time())
        plan = msgspec.structs.replace(plant.plan, began=boottime())
        stations = ClientProgram(site, "stations")
        with _addresses(site, plant):
            watched = _watch(site, operator, plan, stations)
        attempts = records.attempts(stations.operations(), plant)
        items = _plants(operator)
        seats = {(item.product_code, item.tmr_id or 0): item.quantity or 0 for item in items}
        names = {item.product_code: item.name for item in items if not item.emergency}
        minute = Minute(
            plant,
            attempts,
            seats,
            names,
            verdict.figures(attempts, seats, plan.seconds),
            watched.peaks,
            watched.terms,
            watched.killed,
            max(attempt.answered - attempt.asked for attempt in attempts if attempt.queued is None),
        )
        _tell(step, minute)
    return minute, before


def _tell(step: Step, minute: Minute) -> None:
    errors = [attempt for attempt in minute.attempts if attempt.error]
    stations = len({attempt.station for attempt in errors})
    check(not errors, f"{len(errors)} errors at {stations} stations, such as {errors[:1]}")
    check(minute.killed in minute.terms[:-1], f"active one after the other: {', '.join(minute.terms)}")
    granted = sum(one.granted for one in minute.figures)
    denied = sum(one.no_seat + one.by_rule for one in minute.figures)
    step.see(
        f"{len(minute.attempts)} requests, {granted} granted, {denied} refused with a reason, 0 errors; "
        f"{minute.killed} killed, {minute.terms[-1]} took over; longest wait for an answer "
        f"{minute.slowest:.2f} s"
    )


def _units(operator: Operator) -> dict[Licence, int]:
    """Rest of each Unit Counter."""
    return {
        (item.product_code, item.tmr_id or 0): item.units_remaining
        for item in _plants(operator)
        if item.units_remaining is not None
    }


@contextmanager
def _addresses(site: Site, plant: workload.Plant) -> Iterator[None]:
    """Their sites' addresses, on the client machine."""
    addresses = [f"{address}/24 dev eth0" for address in plant.sites.values()]
    site.must_inside("client", "; ".join(f"ip address replace {address}" for address in addresses))
    try:
        yield
    finally:
        site.inside("client", "; ".join(f"ip address delete {address}" for address in addresses))


def _watch(site: Site, operator: Operator, plan: Plan, stations: ClientProgram) -> Watched:
    """Run the stations, look at the server meanwhile, and kill the active twin in the middle."""
    watched = Watched()
    stations.start(plan)
    began = time.monotonic()
    while stations.alive():
        passed = time.monotonic() - began
        check(passed < plan.seconds + 60, f"the stations are still at work after {passed:.0f} s")
        _look(operator, watched, passed)
        if not watched.killed and watched.terms and passed >= plan.seconds / 2:
            watched.killed = watched.terms[-1]
            site.must_inside(watched.killed, KILL)
        time.sleep(_LOOK_S)
    _progress("")
    check(not stations.failed(), f"the stations failed: {stations.said()}")
    return watched


def _look(operator: Operator, watched: Watched, passed: float) -> None:
    active = operator.active()
    if active is not None and watched.terms[-1:] != [active.name]:
        watched.terms.append(active.name)
    taken = 0
    for item in _plants(operator):
        key = (item.product_code, item.tmr_id or 0)
        watched.peaks[key] = max(watched.peaks.get(key, 0), item.in_use)
        taken += item.in_use
    active_now = watched.terms[-1] if watched.terms else "nobody"
    _progress(f"  {passed:3.0f} s  {taken} seats in use, {active_now} active")


def _progress(text: str) -> None:
    """A line that is written over, where somebody looks at it."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="", flush=True)


# -- the verdict -------------------------------------------------------------------------------------------


def _judge(board: Board, site: Site, operator: Operator, minute: Minute, before: Before) -> None:
    attempts, seats = minute.attempts, minute.seats
    with board.step(
        "What must be true of this minute",
        "never more seats in use than there are; units as the stations took them; nobody admitted "
        "against the access rules, nor refused by one that is about others; everything given back; the "
        "licence tracking record says the same",
    ) as step:
        wait_for(lambda: _left(operator), _READY_S, "all sessions have ended")
        wrong = verdict.overfull(attempts, seats)
        wrong += [
            f"the server showed {most} of {seats[key]} seats of {key[0]} #{key[1]}"
            for key, most in minute.peaks.items()
            if most > seats[key]
        ]
        check(not wrong, "; ".join(wrong))
        full = sum(one.peak >= one.seats for one in minute.figures)
        step.see(
            "seats: never too many, by the stations' clocks and by the server's count; "
            f"{full} products were full at times"
        )

        after = _units(operator)
        taken = {key: sum(a.units for a in attempts if (a.product, a.tmr_id) == key) for key in before.units}
        gone = {key: had - after[key] for key, had in before.units.items()}
        left = {one.product: sum(one.left) for one in minute.figures}
        unheard = {key: gone[key] - count for key, count in taken.items()}
        check(
            all(0 <= count <= left[key[0]] for key, count in unheard.items()),
            f"units: the stations took {taken}, the server counts {gone}",
        )
        step.see(
            "units: "
            + ", ".join(f"{count:,} of {minute.names[product]}" for (product, _), count in taken.items())
            + ", by the stations and by the server"
            + f"; {sum(unheard.values())} more went with seats for stations that were leaving the queue"
        )

        access = tomllib.loads((_HERE / "access.toml").read_text())
        wrong = verdict.against_rules(attempts, access, seats)
        check(not wrong, f"{len(wrong)} times: {'; '.join(wrong[:3])}")
        ruled = sum(one.by_rule for one in minute.figures)
        rules = len({attempt.rule for attempt in attempts if attempt.rule})
        step.see(
            f"access rules: {rules} of {len(access['rules'])} rules refused {ruled} requests, each of them "
            "rightly; nobody got past them"
        )
        step.see(f"given back: no session, no place in a queue, 0 of {sum(seats.values())} seats in use")
        step.see(_record(site, minute, before))


def _record(site: Site, minute: Minute, before: Before) -> str:
    """Compare the licence tracking record with what the stations wrote down."""
    asked = (
        "--firm",
        f"{licence.FIRM}",
        "--from",
        before.time.isoformat(),
        "--lines",
        "0",
        "--json",
    )
    shown = json.loads(_tmr(site, "tracking", "show", *asked))
    recorded = {one["product_code"]: one for one in shown["products"]}
    for one in minute.figures:
        line = recorded[one.product]
        known = (one.granted, one.emergencies, one.units)
        told = (line["grants"], line["emergency"], line["units"])
        right = told[1] == known[1] and 0 <= told[0] - known[0] <= len(one.left)
        check(
            right and 0 <= told[2] - known[2] <= sum(one.left),
            f"{one.product}: grants, emergencies, units {told} in the record, {known} seen",
        )
        check(
            one.peak <= line["peak"] <= one.seats,
            f"{one.product}: peak {line['peak']} in the record, {one.peak} seen, of {one.seats} seats",
        )
    lines = shown["span"]["last_seq"] - shown["span"]["first_seq"] + 1
    return f"record: {lines:,} lines, the same grants, emergencies and units of every product"


def _left(operator: Operator) -> str:
    held = operator.sessions()
    used = sum(item.in_use for item in _plants(operator))
    if held.sessions or held.queue or used:
        return f"{len(held.sessions)} sessions, {len(held.queue)} waiting, {used} seats in use"
    return ""
