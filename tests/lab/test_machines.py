# SPDX-License-Identifier: Apache-2.0
"""A user's commands for the machines of a lab, on a lab that runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.lab.command import ROOT, Lab, eventually

MACHINES = ("up1", "up2", "up3", "tmr1", "tmr2", "client")

SPEAK_AND_LISTEN = """
import socket
peer = socket.create_connection(("10.20.0.21", 22), 5)
print(peer.recv(100).decode().split("-")[0], flush=True)
try:
    peer.settimeout(30)
    while data := peer.recv(100):
        pass
    print("closed", flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
"""


@pytest.fixture
def tmr1_off(running: Lab) -> Iterator[None]:
    """For tests that leave tmr1 without power: it is on again afterwards."""
    yield
    if running.machine("tmr1")["state"] == "off":
        running("power-on", "tmr1")


def test_every_machine_runs_its_own_systemd(running: Lab) -> None:
    machines = running.status()["machines"]
    assert {name: (one["state"], one["systemd"]) for name, one in machines.items()} == dict.fromkeys(
        MACHINES, ("on", "running")
    )


@pytest.mark.parametrize("machine", MACHINES)
def test_ssh_reaches_each_machine(running: Lab, machine: str) -> None:
    assert running.ssh(machine, "cat /proc/1/comm; hostname").split() == ["systemd", machine]


@pytest.mark.parametrize("address", ["10.20.0.21", "10.20.0.22", "fd00:20::21", "fd00:20::22"])
def test_the_client_reaches_the_twins_on_the_front_lan(running: Lab, address: str) -> None:
    assert running.pings("client", address)


@pytest.mark.parametrize("address", ["10.30.0.11", "10.30.0.21"])
def test_nothing_routes_from_the_front_lan_to_the_back_lan(running: Lab, address: str) -> None:
    assert not running.pings("client", address)


def test_the_hosts_own_network_is_untouched(running: Lab) -> None:
    links = subprocess.run(["ip", "-o", "link"], text=True, capture_output=True, check=True).stdout
    names = [line.split(": ")[1].split("@")[0] for line in links.splitlines()]
    assert not [name for name in names if name in ("front", "back") or "." in name or "veth" in name]


def test_chrony_is_there_but_waits_for_a_role(running: Lab) -> None:
    assert (
        running("ssh", "up1", "--", "systemctl is-enabled chrony", check=False).stdout.strip() == "disabled"
    )


def test_a_cut_cable_takes_carrier_and_traffic_of_one_lan_only(running: Lab) -> None:
    running("cut", "tmr1", "front")
    try:
        assert running.ssh("tmr1", "cat /sys/class/net/eth0/carrier /sys/class/net/eth1/carrier").split() == [
            "0",
            "1",
        ]
        assert running.machine("tmr1")["interfaces"]["eth0"]["cable"] == "cut"
        assert not running.pings("client", "10.20.0.21")
        assert running.pings("up1", "10.30.0.21")
    finally:
        running("heal", "tmr1", "front")
    assert eventually(lambda: running.pings("client", "10.20.0.21"))


def test_a_cut_cable_stays_cut_over_a_power_cycle(running: Lab) -> None:
    running("cut", "up2", "back")
    running("power-off", "up2")
    running("power-on", "up2")
    assert running("shell", "up2", "cat", "/sys/class/net/eth0/carrier").stdout.strip() == "0"
    running("heal", "up2", "back")
    assert eventually(lambda: running.pings("up2", "10.30.0.11"))


def test_a_frozen_machine_answers_neither_ping_nor_arp(running: Lab) -> None:
    before = running.machine("tmr2")["leader"]
    assert running.resolves("client", "10.20.0.22")
    running("freeze", "tmr2")
    try:
        assert running.machine("tmr2")["state"] == "frozen"
        assert not running.pings("client", "10.20.0.22")
        assert not running.resolves("client", "10.20.0.22")
    finally:
        running("thaw", "tmr2")
    assert eventually(lambda: running.resolves("client", "10.20.0.22"))
    assert running.machine("tmr2")["leader"] == before
    assert running.ssh("tmr2", "hostname") == "tmr2"


def test_a_power_cut_keeps_what_was_synced_and_loses_the_rest(running: Lab) -> None:
    running.ssh(
        "up1", "echo precious > /root/synced && sync /root/synced /root && echo fleeting > /root/unsynced"
    )
    running("power-off", "up1")
    assert running.machine("up1")["state"] == "off"
    running("power-on", "up1")
    assert running.ssh("up1", "cat /root/synced") == "precious"
    assert running("ssh", "up1", "--", "cat /root/unsynced", check=False).stdout == ""


def test_an_orderly_stop_keeps_everything(running: Lab) -> None:
    running.ssh("up1", "echo fleeting > /root/unsynced")
    running("stop", "up1")
    assert running.machine("up1")["state"] == "off"
    running("power-on", "up1")
    assert running.ssh("up1", "cat /root/unsynced") == "fleeting"


def test_peers_of_a_machine_without_power_hear_silence(running: Lab, tmr1_off: None) -> None:
    """No FIN and no RST: else a takeover would look quicker here than it is in a factory."""
    listener = subprocess.Popen(
        ["ip", "netns", "exec", running.machine("client")["namespace"], "python3", "-c", SPEAK_AND_LISTEN],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "SSH\n"
        running("power-off", "tmr1")
        with pytest.raises(subprocess.TimeoutExpired):
            listener.wait(1)
    finally:
        listener.kill()
        listener.communicate()


def test_several_machines_lose_power_together(running: Lab) -> None:
    running("power-off", "up1", "up2", "up3", "tmr1", "tmr2")
    states = {name: one["state"] for name, one in running.status()["machines"].items()}
    assert states == {**dict.fromkeys(MACHINES, "off"), "client": "on"}
    running("power-on", "up1", "up2", "up3", "tmr1", "tmr2")
    assert running.ssh("tmr1", "systemctl is-system-running") == "running"


def test_a_reboot_keeps_the_disk_and_drops_runtime_addresses(running: Lab) -> None:
    running.ssh("tmr2", "echo kept > /root/kept; ip address add 10.20.0.100/32 dev eth0")
    running("reboot", "tmr2")
    assert running.ssh("tmr2", "cat /root/kept") == "kept"
    assert "10.20.0.100" not in running.ssh("tmr2", "ip address")
    assert running.machine("tmr2")["boots"] == 2


def test_a_machine_can_reboot_itself(running: Lab) -> None:
    before = running.machine("up3")["boots"]
    running("ssh", "up3", "--", "systemctl reboot", check=False)
    assert eventually(lambda: (up3 := running.machine("up3"))["boots"] == before + 1 and up3["state"] == "on")
    assert running.ssh("up3", "hostname") == "up3"


def test_a_machine_can_power_itself_off(running: Lab) -> None:
    running("ssh", "up3", "--", "systemctl poweroff", check=False)
    assert eventually(lambda: running.machine("up3")["state"] == "off")
    running("power-on", "up3")
    assert running.ssh("up3", "hostname") == "up3"


def test_a_visitor_goes_with_the_machine(running: Lab) -> None:
    visitor = subprocess.Popen(running.command("shell", "up2", "sleep", "infinity"), cwd=ROOT)
    try:
        assert eventually(lambda: "sleep" in running.ssh("up2", "ps -eo comm"))
        running("stop", "up2")
        visitor.wait(10)
    finally:
        visitor.kill()
        visitor.wait()
    running("power-on", "up2")
    assert "sleep" not in running.ssh("up2", "ps -eo comm")


def test_a_hosts_program_runs_in_the_fabric(running: Lab) -> None:
    addresses = running("ns-exec", "fabric", "--", "ip", "-br", "address").stdout
    assert "10.20.0.254/24" in addresses
    assert "10.30.0.254/24" in addresses


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("power-off", "up9"), "no machine 'up9'"),
        (("cut", "up1", "front"), "up1 has no cable to 'front'"),
        (("power-on", "up1"), "up1 is on, not off"),
        (("thaw", "up1"), "up1 is on, not frozen"),
        (("up",), "exists already"),
        (("ns-exec", "up1"), "which program?"),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(running: Lab, arguments: tuple[str, ...], said: str) -> None:
    done = running(*arguments, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert running.machine("up1")["systemd"] == "running"
