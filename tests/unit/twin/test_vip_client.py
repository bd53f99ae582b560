# SPDX-License-Identifier: Apache-2.0
"""The agent and its VIP manager: when a lease is given back, and a manager that does not answer."""

from pathlib import Path

from tests.support.tmr_system import running, scenario, until
from tmr.runtime.clock import boottime


@scenario
async def test_lease_is_given_back_only_when_no_hold_can_be_carried_out(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        first, second = system.active, system.passive
        await until(lambda: first.vip.epoch is not None, "the address is held")
        before = len(first.vip.commands)
        first.vip.stand_still()
        await until(lambda: second.serves, "the other twin takes over")
        at = boottime()
        first.vip.go_on()
        await until(lambda: first.vip.epoch is None, "what had waited is read")
        waited = first.vip.commands[before:]
        holds = [command for command in waited if command["op"] == "hold"]
        assert [command["op"] for command in waited[len(holds) :]][:1] == ["drop"]
        assert len(holds) <= 2, "one may have been on its way, one waits"
        assert all(hold["deadline_ns"] <= at * 1_000_000_000 for hold in holds)


@scenario
async def test_twin_whose_manager_does_not_answer_is_not_elected(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        second = system.passive
        await until(lambda: second.agent.replicator.twin.eligible, "its manager answers")
        second.vip.stand_still()
        await until(lambda: not second.agent.replicator.twin.eligible, "the silence is noticed")
        assert any("stands still" in alarm for alarm in second.agent.status().alarms)
        second.vip.go_on()
        await until(lambda: second.agent.replicator.twin.eligible, "its manager answers again")
        assert not any("tmr-vip" in alarm for alarm in second.agent.status().alarms)


@scenario
async def test_lost_address_is_dropped_before_the_lease_is_given_back(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        first, second = system.active, system.passive
        await until(lambda: first.vip.epoch is not None, "the address is held")
        before = len(first.vip.commands)
        first.vip.report(event="dropped", epoch=first.vip.epoch, reason="error", detail="netlink")
        await until(lambda: second.serves, "the other twin takes over")
        assert "drop" in [command["op"] for command in first.vip.commands[before:]]


@scenario
async def test_hold_that_came_too_late_is_sent_again(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        first = system.active
        await until(lambda: first.vip.epoch is not None, "the address is held")
        epoch, before = first.vip.epoch, len(first.vip.commands)
        first.vip.report(event="dropped", epoch=epoch, reason="deadline")
        first.vip.report(event="refused", epoch=epoch, detail="the deadline passed", again=True)
        await until(lambda: len(first.vip.commands) > before, "the next hold")
        assert first.vip.commands[before]["op"] == "hold"
        assert first.vip.commands[before]["epoch"] == epoch
