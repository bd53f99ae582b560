# SPDX-License-Identifier: Apache-2.0
"""Health of the whole system, from what its addresses answered."""

import itertools

import pytest

from tests.unit.cli.render.test_tables import DEGRADED, status
from tmr.api.status import Health, HealthReason, HealthState, Role, Status
from tmr.cli.health import EXIT_CODES, system_health
from tmr.cli.render.status_tables import TwinView

HEALTHY = Health(state=HealthState.HEALTHY)
DOWN = Health(
    state=HealthState.DOWN,
    reasons=(HealthReason(machine="tmr2", what="no twin serves, as far as tmr2 knows"),),
)


def view(address: str, of: Status | None) -> TwinView:
    return TwinView(address, of, "" if of else "connection refused")


def told(name: str, role: str, health: Health) -> Status:
    return status(name, role, health=health, alarms=[reason.text for reason in health.reasons])


ACTIVE, PASSIVE = told("tmr1", "active", HEALTHY), told("tmr2", "passive", HEALTHY)


def system(vip: Status | None, *twins: Status | None) -> Health:
    return system_health([view("vip", vip)], [view(f"own-{n}", one) for n, one in enumerate(twins)])


def test_all_healthy() -> None:
    assert system(ACTIVE, ACTIVE, PASSIVE) == HEALTHY
    assert system(ACTIVE) == HEALTHY, "the twins' own addresses are not configured"


@pytest.mark.parametrize(
    ("vip", "twins", "machine"),
    [
        (ACTIVE, (ACTIVE, None), "own-1"),
        (told("tmr1", "active", DEGRADED), (ACTIVE, PASSIVE), "up3"),
        (ACTIVE, (ACTIVE, told("tmr2", "passive", DEGRADED)), "up3"),
        (ACTIVE, (ACTIVE, told("tmr2", "passive", DOWN)), "tmr2"),
    ],
    ids=["a twin is silent", "the active twin says so", "the passive one does", "it reaches nobody"],
)
def test_what_any_server_lacks_makes_the_system_degraded(
    vip: Status, twins: tuple[Status | None, ...], machine: str
) -> None:
    found = system(vip, *twins)
    assert found.state is HealthState.DEGRADED
    assert [reason.machine for reason in found.reasons] == [machine]


@pytest.mark.parametrize(("vip", "machine"), [(None, "vip"), (PASSIVE, "tmr2")], ids=["silent", "passive"])
def test_nobody_active_at_the_virtual_address_is_down(vip: Status | None, machine: str) -> None:
    found = system(vip, ACTIVE, PASSIVE)
    assert found.state is HealthState.DOWN
    assert [reason.machine for reason in found.reasons] == [machine]


def test_reason_that_both_twins_tell_is_there_once() -> None:
    both = [told(name, role, DEGRADED) for name, role in (("tmr1", "active"), ("tmr2", "passive"))]
    assert system(both[0], *both).reasons == DEGRADED.reasons


def test_healthy_if_and_only_if_there_is_no_reason() -> None:
    answers = [None, *(told("tmr1", role, h) for role in Role for h in (HEALTHY, DEGRADED, DOWN))]
    for vip, one, two in itertools.product(answers, repeat=3):
        found = system(vip, one, two)
        assert (found.state is HealthState.HEALTHY) == (not found.reasons)


def test_each_state_has_an_exit_code_of_its_own() -> None:
    assert EXIT_CODES == {HealthState.HEALTHY: 0, HealthState.DEGRADED: 1, HealthState.DOWN: 3}
