# SPDX-License-Identifier: Apache-2.0
"""A manager that stands still and goes on: the address is on one machine at a time, and soon on one."""

import shutil
import socket
from collections.abc import Callable
from contextlib import closing

import pytest
from scapy.layers.l2 import ARP, Ether

from tests.netns.conftest import Front
from tests.netns.pair import PATIENCE_S, paired
from tests.netns.server import Addresses
from tests.netns.world import VIP, boottime_ns, thawed, until


def test_thawed_manager_never_puts_up_the_address_of_the_other(front: Front) -> None:
    with paired(front) as pair:
        for tenths in (12, 15, 17, 18, 19, 20, 21, 22, 23, 25, 30):
            pair.until_both_able()
            manager = pair.managers[pair.holder()]
            with thawed(manager):
                manager.freeze()
                end = boottime_ns() + tenths * 100_000_000
                until(lambda end=end: boottime_ns() > end, "it stands still")  # type: ignore[misc]
            pair.holder()


def test_other_twin_holds_the_address_while_the_manager_stands_still(front: Front) -> None:
    with paired(front) as pair:
        pair.until_both_able()
        first = pair.holder()
        with thawed(pair.managers[first]):
            pair.managers[first].freeze()
            until(
                lambda: pair.seen.holders and first not in pair.seen.holders, "the other has it", PATIENCE_S
            )
            assert not pair.servers[first].able
        pair.until_both_able()
        assert pair.holder() != first, "no failback"


def test_hold_before_a_drop_that_waits_with_it_is_not_carried_out(front: Front) -> None:
    space = front.lan["tmr1"]
    manager = front.manager("tmr1")
    commander = front.commander(manager)
    commander.expect("hello")
    with Addresses(VIP, {"tmr1": manager.popen.pid}) as seen, thawed(manager):
        manager.freeze()
        for epoch in (1, 2):
            commander.hold(epoch, seconds=30)
        commander.drop(epoch=2)
        commander.command(op="ping")
        manager.thaw()
        commander.expect("pong")
        assert not space.has()
    assert not seen.holders
    assert "event=held" not in manager.text()
    assert [report["event"] for report in commander.seen] == ["hello", "dropped", "pong"]


def test_socket_path_that_vanished_is_made_anew(front: Front) -> None:
    manager = front.manager("tmr1")
    manager.path.unlink()
    until(manager.path.exists, "the manager listens anew")
    commander = front.commander(manager)
    commander.expect("hello")
    commander.hold(epoch=1)
    commander.expect("held")


def test_commander_is_not_disturbed_when_the_path_vanishes(front: Front) -> None:
    manager = front.manager("tmr1")
    first = front.commander(manager)
    with first.keep(epoch=1):
        first.expect("held")
        manager.path.unlink()
        manager.until_logged("event=socket-made-anew")
        assert front.lan["tmr1"].has()
        second = front.commander(manager)
        assert "commands" in second.expect("refused")["detail"]
    first.drop(epoch=1)
    assert first.expect("dropped")["reason"] == "asked"


def test_manager_without_its_directory_ends_as_soon_as_nobody_commands(front: Front) -> None:
    directory = front.directory / "run"
    directory.mkdir()
    manager = front.manager("tmr1", path=directory / "vip.sock")
    commander = front.commander(manager)
    with commander.keep(epoch=1):
        commander.expect("held")
        shutil.rmtree(directory)
        # The commander goes on commanding: the address stays for as long as the test looks.
        end = boottime_ns() + 2_000_000_000
        until(lambda: boottime_ns() > end, "time for several looks")
        assert front.lan["tmr1"].has()
    commander.kill()
    assert manager.popen.wait(PATIENCE_S) != 0, "the supervisor starts it again, with its directory"
    assert not front.lan["tmr1"].has()
    assert "RuntimeDirectory= of the unit makes its directory" in manager.text()


@pytest.mark.parametrize("prefix", [24, 32])
def test_address_added_by_hand_on_the_passive_machine_is_taken_away(front: Front, prefix: int) -> None:
    lan = front.lan
    passive = front.manager("tmr2")
    commander = front.commander(front.manager("tmr1"))
    with commander.keep(epoch=1):
        commander.expect("held")
        lan["tmr2"].ip("address", "add", f"{VIP}/{prefix}", "dev", "eth0")
        passive.until_logged(f"event=stray-removed address={VIP}/{prefix}")
        assert not lan["tmr2"].has()
        assert lan["tmr1"].has()


def test_second_form_of_the_address_on_the_holder_is_taken_away(front: Front) -> None:
    space = front.lan["tmr1"]
    manager = front.manager("tmr1")
    commander = front.commander(manager)
    with commander.keep(epoch=1):
        commander.expect("held")
        space.ip("address", "add", f"{VIP}/24", "dev", "lo")
        manager.until_logged("event=stray-removed")
        assert f"{VIP}/32" in space.addresses()
    commander.drop(epoch=1)
    commander.expect("dropped")
    assert not space.has()


def test_interface_down_and_up(front: Front) -> None:
    with paired(front) as pair:
        pair.until_both_able()
        first = pair.holder()
        front.lan[first].ip("link", "set", "eth0", "down")
        until(lambda: pair.seen.holders and first not in pair.seen.holders, "the other has it", PATIENCE_S)
        front.lan[first].ip("link", "set", "eth0", "up")
        pair.until_both_able()
        assert front.lan["client"].reaches()
        assert pair.holder() != first


def test_every_foreign_claim_is_answered(front: Front) -> None:
    lan = front.lan
    commander = front.commander(front.manager("tmr1"))
    mac, intruder = lan["tmr1"].mac, lan["up1"].mac
    claim = bytes(
        Ether(src=intruder, dst="ff:ff:ff:ff:ff:ff")
        / ARP(op=2, hwsrc=intruder, psrc=VIP, hwdst="ff:ff:ff:ff:ff:ff", pdst=VIP)
    )
    sender = lan["up1"].inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    with closing(sender), commander.keep(epoch=1):
        commander.expect("held")
        assert lan["client"].reaches()
        for _ in range(2):
            until(
                lambda: _claimed(sender, claim, lambda: lan["client"].neighbour() == intruder),
                "it is believed",
            )
            until(lambda: lan["client"].neighbour() == mac, "the client comes back to the rightful holder")
        assert lan["client"].reaches()


def _claimed(sender: socket.socket, claim: bytes, believed: Callable[[], bool]) -> bool:
    sender.sendto(claim, ("eth0", 0))
    return believed()
