# SPDX-License-Identifier: Apache-2.0
"""A campaign is the same for the same seed, says what it does, and loses nothing that a client wrote."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos import nemesis, timeline, workload
from chaos.plan import ACTIVE, KINDS, NEEDS_WHOLE, PASSIVE, TWINS, UPSTREAMS, plan
from chaos.watcher import Look
from lab.names import ROOT
from testbed import flood
from testbed.addresses import LEASE_S
from testbed.vip_watcher import together
from tmr.api.status import Health, HealthState, Role, Status, UpstreamStatus
from tmr.cli.vendor.item_file import read_items

AT_ONCE = {"store-lost", "old-copies", "slow-links"}
"""Kinds with two upstreams: one of them only while the other is whole, both while nobody may serve."""
seeds = st.integers(0, 2**32)
few = settings(max_examples=30)


# -- the plan ----------------------------------------------------------------------------------------------


@few
@given(seeds, st.floats(10, 1200))
def test_a_seed_always_gives_the_same_faults(seed: int, seconds: float) -> None:
    assert plan(seed, seconds) == plan(seed, seconds)


def test_seeds_differ() -> None:
    assert len({plan(seed, 120) for seed in range(50)}) == 50


@few
@given(seeds, st.floats(0, 1200))
def test_faults_come_one_after_the_other_and_end_in_time(seed: int, seconds: float) -> None:
    steps = plan(seed, seconds)
    for one, after in itertools.pairwise(steps):
        assert one.at + one.seconds < after.at
    assert all(step.at + step.seconds < seconds for step in steps)


@few
@given(seeds)
def test_ten_minutes_have_every_kind_of_fault(seed: int) -> None:
    assert {step.kind for step in plan(seed, 600)} == KINDS


def test_every_kind_has_a_way_to_strike_and_a_colour() -> None:
    ways = [*nemesis._OWN, *nemesis._MEANWHILE, *nemesis._BETWEEN, *nemesis._LIKE, "majority-lost"]
    assert set(ways) == KINDS
    assert len(ways) == len(set(ways))
    assert {kind for kinds in timeline.KINDS.values() for kind in kinds} >= KINDS


def test_the_seed_of_the_molecule_scenario_has_what_destroys_for_good() -> None:
    """A kind that joins the deck deals all seeds anew: choose another seed there then."""
    text = (ROOT / "molecule" / "chaos" / "tests" / "test_campaign.py").read_text()
    found = re.search(r"^SEED = (\d+)$", text, re.MULTILINE)
    assert found is not None
    first = {step.kind for step in plan(int(found[1]), 150)[:6]}
    assert first >= {*NEEDS_WHOLE, "host-pause"}


@few
@given(seeds)
def test_what_is_struck_is_what_the_promise_is_about(seed: int) -> None:
    """Never two upstreams at once, unless the fault is meant to be beyond the promise."""
    for step in plan(seed, 600):
        assert set(step.targets) <= {*UPSTREAMS, *TWINS, ACTIVE, PASSIVE}
        assert len(set(step.targets)) == len(step.targets)
        beyond = step.kind in {
            "restart-all",
            "majority-lost",
            "twins-lost",
            "clocks-behind",
            "flapping",
            *AT_ONCE,
        }
        if step.kind == "clock-jump":
            errors = {int(seconds) for seconds in step.how.split()}
            assert len(errors) == len(step.targets) <= 2
            assert len(errors) == 1 or max(errors) - min(errors) > 86_400, "wrong alike is beyond the promise"
            continue
        assert beyond or sum(target in UPSTREAMS for target in step.targets) <= 1
        assert beyond or sum(target in (ACTIVE, PASSIVE, *TWINS) for target in step.targets) <= 1


@few
@given(seeds)
def test_a_freeze_is_longer_than_a_lease(seed: int) -> None:
    assert all(step.seconds > LEASE_S for step in plan(seed, 600) if step.kind == "freeze")


@few
@given(seeds, st.floats(0, 3600))
def test_what_destroys_for_good_waits_until_all_is_whole(seed: int, seconds: float) -> None:
    assert all(step.patient for step in plan(seed, seconds) if step.kind in NEEDS_WHOLE)


@few
@given(seeds)
def test_every_kind_is_told_what_it_needs(seed: int) -> None:
    for step in plan(seed, 1200):
        match step.kind:
            case "store-lost":
                assert (len(step.targets) == 2) is (step.how == "and-power") is (step.seconds > LEASE_S)
            case "bit-flipped":
                assert 0 <= int(step.how.removesuffix("%")) <= 100
            case "old-copies":
                assert len(step.targets) == 2
                assert step.seconds > 2, "the twins write their anchors once a second"
            case "lease-set":
                assert float(step.how) != LEASE_S
            case "host-pause":
                assert LEASE_S <= step.seconds <= 3 * LEASE_S
            case "clocks-behind":
                assert step.targets == UPSTREAMS
                assert int(step.how) < 0
            case "slow-links":
                assert step.how.endswith("bit")
            case "flood":
                assert step.targets == (ACTIVE,)
                assert step.how in flood.KINDS


# -- the clients -------------------------------------------------------------------------------------------


def test_every_licence_is_wanted_by_more_clients_than_it_has_seats(tmp_path: Path) -> None:
    file = tmp_path / "items.json"
    file.write_bytes(msgspec.json.encode({"item": workload.items(3000)}))
    clients = workload.clients(3000)
    for licence in read_items(file):
        wanted = [
            client
            for client in clients
            for use, _ in client.uses
            if use.product == licence.product_code and use.kind != "read"
        ]
        stations = {client.station or client.name for client in wanted}
        assert len(stations) >= (licence.quantity or 0), licence.name
    assert len({client.name for client in clients}) == len(clients)


# -- what is seen from outside -----------------------------------------------------------------------------


def status(name: str, role: Role, *, voting: bool = True, match: int = 100) -> Status:
    upstreams = tuple(
        UpstreamStatus(
            name=up, reachable=True, voting=voting or up != "up3", match=match if up == "up3" else 100
        )
        for up in UPSTREAMS
    )
    return Status(
        name=name,
        role=role,
        epoch=4,
        lease_remaining_ms=None,
        vip=(),
        peer=None,
        version="1",
        certified_time=None,
        upstreams=upstreams,
        licences=(),
        sessions=0,
        commit=100,
        health=Health(state=HealthState.HEALTHY),
    )


def look(**changed: object) -> Look:
    """A system that is whole, but for what is changed."""
    whole = {
        "state": dict.fromkeys((*UPSTREAMS, *TWINS), "on"),
        "vip": frozenset({"tmr1"}),
        "twins": {"tmr1": status("tmr1", Role.ACTIVE), "tmr2": status("tmr2", Role.PASSIVE)},
    }
    return Look(0.0, **{**whole, **changed})  # type: ignore[arg-type]


def test_a_whole_system_lacks_nothing() -> None:
    assert look().active() == "tmr1"
    assert look().unwhole(lag=0) == ""
    assert look().short_of_votes() == ""


def test_an_upstream_that_lacks_what_was_confirmed_is_named() -> None:
    own = {"last_index": 99, "alarms": ["its disk"]}
    assert look(upstreams={"up1": own}).behind("up1") == "entries 100 to 100"
    assert look(upstreams={"up1": {**own, "last_index": 100}}).behind("up1") == ""
    assert look().behind("up1") == "up1 or both twins are silent"
    assert look(upstreams={"up1": own}).alarms("up1") == ("its disk",)
    assert look().alarms("up1") == look().alarms("tmr1") == ()


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"state": {"up1": "frozen"}}, "up1 is frozen"),
        ({"vip": frozenset({"tmr1", "tmr2"})}, "virtual address"),
        ({"vip": frozenset()}, "no machine"),
        ({"twins": {"tmr1": status("tmr1", Role.ACTIVE), "tmr2": None}}, "tmr2 is silent"),
        (
            {"twins": {"tmr1": status("tmr1", Role.ACTIVE), "tmr2": status("tmr2", Role.ACTIVE)}},
            "virtual address",
        ),
        (
            {
                "twins": {
                    "tmr1": status("tmr1", Role.ACTIVE, voting=False),
                    "tmr2": status("tmr2", Role.PASSIVE),
                }
            },
            "up3",
        ),
        (
            {
                "twins": {
                    "tmr1": status("tmr1", Role.ACTIVE, match=99),
                    "tmr2": status("tmr2", Role.PASSIVE),
                }
            },
            "1 entries behind",
        ),
    ],
)
def test_what_is_missing_is_named(changed: dict[str, object], word: str) -> None:
    assert word in look(**changed).unwhole(lag=0)


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([False, False], ()),
        ([True, False], ("tmr1",)),
        ([False, True], ("tmr2",)),
        ([True, True, True], ("tmr1", "tmr2")),
        ([True, True, False], ("tmr2",)),
    ],
    ids=["none", "first", "second", "both", "moved between two readings"],
)
def test_two_holders_are_those_of_one_moment(answers: list[bool], found: tuple[str, ...]) -> None:
    told = iter(answers)
    assert together(lambda _: next(told)) == found
    assert list(told) == []
