# SPDX-License-Identifier: Apache-2.0
"""Health from the facts of a status: healthy, degraded, down, each with its reasons."""

import itertools
from functools import partial
from pathlib import Path

import pytest

from tests.support.tmr_system import Twin, item, running, scenario, until
from tmr.api.licences import Constituent, ConstituentState, LicenceState
from tmr.api.status import HealthState, LicenceStatus, UpstreamStatus
from tmr.service.health import HealthFacts, TakeOver, alarms, health

UP = ("up1", "up2", "up3")
READY = TakeOver("tmr2", heard=True)
SILENT = TakeOver("tmr2", heard=False)
MIRRORS = TakeOver("tmr2", heard=True, hindrance="it has still to mirror 9 entries of the journal")


def upstreams(*, away: tuple[str, ...] = (), not_voting: tuple[str, ...] = ()) -> tuple[UpstreamStatus, ...]:
    return tuple(
        UpstreamStatus(
            name=name,
            reachable=name not in away,
            voting=name not in not_voting,
            last_error="connection refused" if name in away else None,
        )
        for name in UP
    )


def licence(*held: str) -> LicenceStatus:
    """One that these upstreams have identical, available constituents of."""
    states = {name: ConstituentState.AVAILABLE if name in held else ConstituentState.MISSING for name in UP}
    return LicenceStatus(
        firm_code=6000010,
        product_code=201,
        tmr_id=1,
        quantity=5,
        in_use=0,
        votes=len(held),
        state=LicenceState.AVAILABLE if len(held) >= 2 else LicenceState.UNAVAILABLE,
        constituents=tuple(
            Constituent(upstream=name, container=None, state=state) for name, state in states.items()
        ),
    )


def facts(
    *,
    serves: bool = True,
    up: tuple[UpstreamStatus, ...] | None = None,
    licences: tuple[LicenceStatus, ...] = (),
    told: tuple[str, ...] = (),
    other: TakeOver | None = READY,
) -> HealthFacts:
    return HealthFacts("tmr1", serves, upstreams() if up is None else up, licences, told, other)


def test_a_whole_system_is_healthy() -> None:
    found = health(facts(licences=(licence(*UP),)))
    assert (found.state, found.reasons) == (HealthState.HEALTHY, ())


@pytest.mark.parametrize(
    ("lost", "machine", "what"),
    [
        (facts(up=upstreams(away=("up2",))), "up2", "up2 does not answer: connection refused"),
        (facts(up=upstreams(not_voting=("up3",))), "up3", "up3 does not vote"),
        (facts(other=SILENT), "tmr2", "tmr2 is not heard by two upstreams"),
        (facts(other=MIRRORS), "tmr2", "tmr2 is not ready to serve: it has still to mirror 9 entries"),
        (facts(licences=(licence(*UP), licence("up1"))), "up1", "6000010:201 #1 (1 in all)"),
        (facts(told=("the clock of up3 is off by +60.0 s",)), "tmr1", "the clock of up3 is off by +60.0 s"),
    ],
)
def test_each_loss_of_redundancy_and_each_alarm_is_a_reason(
    lost: HealthFacts, machine: str, what: str
) -> None:
    found = health(lost)
    assert found.state is HealthState.DEGRADED
    (reason,) = found.reasons
    assert reason.machine == machine
    assert what in reason.what
    assert alarms(found) == (reason.text,)


def test_without_a_majority_it_is_down_and_says_which_upstreams_are_missing() -> None:
    found = health(
        facts(serves=False, up=upstreams(away=("up2", "up3")), licences=(licence("up1"),), other=SILENT)
    )
    assert found.state is HealthState.DOWN
    assert [reason.machine for reason in found.reasons] == ["tmr1", "up2", "up3"], (
        "one upstream alone tells nothing of the other twin, and what makes a licence unavailable is said"
    )
    assert "1 of 3 upstreams count (up1), 2 are needed" in found.reasons[0].what
    assert found.reasons[0].remedy == "bring up2 or up3 back"


def test_two_upstreams_and_no_twin_with_the_lease_is_down() -> None:
    found = health(facts(serves=False, other=SILENT))
    assert found.state is HealthState.DOWN
    assert [reason.machine for reason in found.reasons] == ["tmr1", "tmr2"]


def test_a_network_licence_server_is_down_when_its_journal_is() -> None:
    alone = upstreams()[:1]
    assert health(facts(up=alone, other=None)).state is HealthState.HEALTHY
    down = health(facts(serves=False, up=alone, other=None))
    assert down.state is HealthState.DOWN
    assert "journalctl" in down.reasons[0].remedy


def test_healthy_if_and_only_if_there_is_no_alarm() -> None:
    for serves, away, not_voting, held, told, other in itertools.product(
        (True, False),
        ((), ("up1",), ("up1", "up2"), UP),
        ((), ("up3",)),
        ((), (UP,), (UP[:1],)),
        ((), ("an alarm",)),
        (READY, SILENT, MIRRORS, None),
    ):
        up = upstreams(away=away, not_voting=not_voting)
        found = health(
            facts(serves=serves, up=up, licences=tuple(licence(*one) for one in held), told=told, other=other)
        )
        assert (found.state is HealthState.HEALTHY) == (alarms(found) == ())
        assert (found.state is HealthState.DOWN) == (not serves)


def says(twin: Twin, state: HealthState) -> bool:
    return twin.agent.status().health.state is state


@scenario
async def test_both_twins_say_so_while_two_upstreams_are_cut_off(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        for twin in system.twins:
            await until(partial(says, twin, HealthState.HEALTHY), f"{twin.name} is healthy")
            assert twin.agent.status().alarms == ()
        for upstream in system.upstreams[1:]:
            upstream.cut()
        for twin in system.twins:
            await until(partial(says, twin, HealthState.DOWN), f"{twin.name} says that it is down")
        for upstream in system.upstreams[1:]:
            upstream.up = True
        for twin in system.twins:
            await until(partial(says, twin, HealthState.HEALTHY), f"{twin.name} is healthy again")


@scenario
async def test_an_upstream_that_does_not_name_its_container_is_an_alarm(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        agent = system.active.agent
        await until(lambda: agent.status().health.state is HealthState.HEALTHY, "all is well")
        system.upstreams[1].acceptor.container = ""
        wanted = "up2 has not said which container it has"
        await until(lambda: any(wanted in alarm for alarm in agent.status().alarms), "the alarm")
        assert agent.status().licences[0].votes == 2
        assert agent.status().health.state is HealthState.DEGRADED
