# SPDX-License-Identifier: Apache-2.0
"""Findings of site.yml on the machines before it changes anything."""

import re
from pathlib import Path

import pytest

from tests.unit.inventory.local import ANSIBLE, dry_run, inventory, roles_run, said
from tests.unit.roles.plugin import load

plugin = load("tmr_inventory/filter_plugins/tmr_inventory_values.py")

pytestmark = pytest.mark.skipif(not ANSIBLE.exists(), reason="Ansible is not installed beside this Python")


def test_an_address_that_a_machine_lacks_stops_everything(tmp_path: Path) -> None:
    done = dry_run(inventory(tmp_path), "site.yml", "--limit", "up1,up2", shown=["10.30.0.11", "192.0.2.1"])
    assert done.returncode != 0
    assert "up2: the machine does not have the address 10.30.0.12" in said(done)
    assert "tmr_release" not in roles_run(done)


def test_an_interface_that_a_twin_lacks_stops_everything(tmp_path: Path) -> None:
    done = dry_run(inventory(tmp_path, tmr_vip_interface="front0"), "site.yml", "--limit", "up1,tmr1")
    assert done.returncode != 0
    assert "tmr1 has no interface front0 for the virtual address" in said(done)
    assert "tmr_release" not in roles_run(done)


def test_a_package_that_cannot_be_had_stops_everything(tmp_path: Path) -> None:
    needed = {"/nonexistent/program": "no-such-package"}
    done = dry_run(inventory(tmp_path, tmr_packages_needed=needed), "site.yml", "--limit", "up1")
    assert done.returncode != 0
    assert "up1 lacks no-such-package, and apt could not install it" in said(done)
    assert "tmr_release" not in roles_run(done)


def test_a_client_and_an_upstream_that_are_off_are_left_out(tmp_path: Path) -> None:
    """Also where a tag leaves out most of the plays."""
    off = inventory(tmp_path, away=("up1", "cad"))
    done = dry_run(off, "site.yml", "--tags", "time", "--limit", "up1,up2,tmr1,cad")
    assert done.returncode == 4, "some machines were not reachable, and nothing else failed"
    assert "cad, up1 are not reachable, and left out" in said(done)
    assert "No route to host" in said(done)
    assert re.findall(r"failed=[1-9]", done.stdout) == []
    recap = done.stdout.partition("PLAY RECAP")[2]
    assert re.findall(r"^(\w+) .*unreachable=1", recap, re.M) == ["cad", "up1"]
    assert re.findall(r"^(\w+) .*changed=[1-9]", recap, re.M) == ["tmr1", "up2"]


def test_with_two_upstreams_off_nothing_is_changed(tmp_path: Path) -> None:
    off = inventory(tmp_path, away=("up2", "up3"))
    done = dry_run(off, "site.yml", "--limit", "up1,up2,up3")
    assert done.returncode != 0
    assert "up2, up3 are not reachable: the system cannot serve without them" in said(done)
    assert "Nothing was changed" in said(done)
    assert "tmr_release" not in roles_run(done)


def test_who_would_be_locked_out_is_told_before(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, tmr_firewall_management_networks=["10.0.0.0/8"])
    done = dry_run(hosts, "site.yml", "--limit", "up1,tmr1", came="198.51.100.7 4711 10.30.0.11 22")
    assert done.returncode != 0
    for name in ("up1", "tmr1"):
        assert f"{name}: the controller comes from 198.51.100.7" in said(done)
    assert "Nothing was changed" in said(done)
    assert "tmr_release" not in roles_run(done)


@pytest.mark.parametrize(
    ("connection", "networks", "port", "said"),
    [
        ("", ["10.0.0.0/8"], 22, ""),
        ("10.1.2.3 4711 10.30.0.11 22", ["10.0.0.0/8"], 22, ""),
        ("10.1.2.3 4711 10.30.0.11 22", ["192.0.2.0/24", "10.1.2.3"], "22", ""),
        ("::ffff:10.1.2.3 4711 ::ffff:10.30.0.11 22", ["10.0.0.0/8"], 22, ""),
        ("fe80::1%eth0 4711 fe80::2%eth0 22", ["fe80::/10"], 22, ""),
        ("10.1.2.3 4711 10.30.0.11 22", ["192.0.2.0/24", "::/0"], 22, "Add 10.1.2.3 or its network"),
        ("fd00::1 4711 fd00::2 22", ["0.0.0.0/0"], 22, "comes from fd00::1"),
        ("10.1.2.3 4711 10.30.0.11 2222", ["10.0.0.0/8"], 22, "Set tmr_firewall_ssh_port: 2222"),
    ],
)
def test_the_controller_as_the_machine_sees_it(
    connection: str, networks: list[str], port: object, said: str
) -> None:
    variables = {"tmr_firewall_management_networks": networks, "tmr_firewall_ssh_port": port}
    found = plugin.shut_out("up1", variables, connection)
    assert bool(found) == bool(said)
    assert said in found
    assert plugin.shut_out("up1", {}, "192.0.2.1 1 192.0.2.2 22") == ""
