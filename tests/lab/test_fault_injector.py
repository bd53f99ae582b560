# SPDX-License-Identifier: Apache-2.0
"""Faults of a campaign take effect on machines, and are gone when they are mended."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from lab.errors import LabError
from lab.names import LabNames, state_root
from testbed.addresses import VIP
from testbed.fault_injector import FaultInjector
from testbed.store_faults import STATE
from tests.lab.command import ROOT, Lab

UP2, TMR1 = "10.30.0.12", "10.30.0.21"
HEARD = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.bind(("", 9000)); s.settimeout(float(sys.argv[1])); print("bound", flush=True)
    try: print(s.recv(9).decode())
    except TimeoutError: print("nothing")
"""
"""What one datagram to port 9000 says, within so many seconds."""


@pytest.fixture
def faults(running: Lab) -> Iterator[FaultInjector]:
    """Of the lab that is up; it is mended afterwards."""
    it = FaultInjector(LabNames(running.name, state_root()))
    yield it
    it.mend()


def hears(running: Lab, listener: str, speaker: str, address: str, patience: float) -> bool:
    """Whether a datagram of `speaker` reaches `listener` at `address`."""
    command = running.command("shell", listener, "python3", "-c", HEARD, str(patience))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as listening:
        assert listening.stdout is not None
        assert listening.stdout.readline() == "bound\n"
        running("shell", speaker, "bash", "-c", f"echo -n word > /dev/udp/{address}/9000")
        return listening.stdout.read() == "word\n"


def test_a_full_disk_takes_nothing_until_it_is_freed(running: Lab, faults: FaultInjector) -> None:
    write = "head -c 1000000 /dev/zero > /root/million && rm /root/million"
    faults.fill("up1")
    with pytest.raises(LabError, match="No space left"):
        faults.inside("up1", write)
    faults.free("up1")
    faults.inside("up1", write)


def test_a_mute_machine_hears_and_a_deaf_one_speaks(running: Lab, faults: FaultInjector) -> None:
    assert running.pings("tmr1", UP2)  # both know the other's hardware address from now on
    faults.silence("up2", ["tmr1"], "mute")
    assert hears(running, "up2", "tmr1", UP2, 10)
    assert not hears(running, "tmr1", "up2", TMR1, 1)
    faults.silence("up2", ["tmr1"], "deaf")
    assert hears(running, "tmr1", "up2", TMR1, 10)
    assert not hears(running, "up2", "tmr1", UP2, 1)
    faults.hear()
    assert hears(running, "up2", "tmr1", UP2, 10)


def test_a_thief_answers_for_the_virtual_address(running: Lab, faults: FaultInjector) -> None:
    assert not running.resolves("client", VIP)
    with faults.thief():
        assert running.resolves("client", VIP)
    assert not running.resolves("client", VIP)


def test_a_killed_service_is_waited_for(running: Lab, faults: FaultInjector) -> None:
    before = faults.processes("up1", "systemd-networkd")
    assert before
    faults.kill("up1", "systemd-networkd")
    assert not set(before) & set(faults.processes("up1", "systemd-networkd"))
    with pytest.raises(LabError, match="does not run"):
        faults.kill("up1", "tmr-upstream")


def test_everything_is_mended_at_once(running: Lab, faults: FaultInjector) -> None:
    faults.power_off("up1")
    faults.freeze("up2")
    faults.cut("tmr2", "back")
    faults.silence("tmr1", ["up3"], "deaf")
    faults.mend()
    states = running.status()["machines"]
    assert all(machine["state"] == "on" for machine in states.values())
    assert states["tmr2"]["interfaces"]["eth1"]["cable"] == "plugged"
    assert running.pings("tmr1", "10.30.0.13")


def test_two_stores_are_put_back_to_copies_of_one_moment(running: Lab, faults: FaultInjector) -> None:
    pair, file = ("up1", "up2"), f"/{STATE}/word"
    faults.all_inside(pair, f"mkdir -p /{STATE}; echo old > {file}; sync {file}")
    faults.copy_stores(*pair)
    faults.all_inside(pair, f"echo new > {file}; sync {file}")
    faults.power_off(*pair)
    faults.put_back_stores(*pair)
    faults.power_on(*pair)
    assert faults.all_inside(pair, f"cat {file}; rm -r /{STATE}") == ["old\n", "old\n"]


def test_a_slow_cable_is_quick_again(running: Lab, faults: FaultInjector) -> None:
    def shapes() -> str:
        return running("ns-exec", "fabric", "--", "tc", "qdisc", "show", "dev", "up2.back").stdout

    faults.slow(["up2"], "300kbit")
    assert "tbf" in shapes()
    assert running.pings("tmr1", UP2)
    faults.mend()
    assert "tbf" not in shapes()


def test_a_paused_machine_is_told_how_long_it_stood_still(running: Lab, faults: FaultInjector) -> None:
    lag = "cat /run/tmr-chaos-lag"
    for _ in range(2):
        faults.pause("up3")
        assert running.machine("up3")["state"] == "frozen"
        faults.resume("up3")
    first = int(faults.inside("up3", lag))
    faults.pause("up3")
    faults.resume("up3")
    assert int(faults.inside("up3", lag)) > first > 0
