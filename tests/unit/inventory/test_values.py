# SPDX-License-Identifier: Apache-2.0
"""The check of single values: types and choices of the roles, ranges, networks of the firewall, names."""

from typing import Any

import pytest
import yaml

from tests.unit.roles.plugin import ROLES, load

plugin = load("tmr_inventory/filter_plugins/tmr_inventory_values.py")

OPTIONS = plugin.specified(ROLES)
GROUPS = {"upstreams": ["up1", "up2", "up3"], "twins": ["tmr1", "tmr2"], "clients": ["cad"]}
HOSTS = [host for members in GROUPS.values() for host in members]


def check(everywhere: dict[str, Any], **alone: dict[str, Any]) -> list[str]:
    """Mistakes with these variables of all machines, and of single ones."""
    found: list[str] = plugin.check(
        {host: {**everywhere, **alone.get(host, {})} for host in HOSTS}, GROUPS, OPTIONS
    )
    return found


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("tmr_upstream_record_days", "lots", "write a whole number from 1 to 36500"),
        ("tmr_upstream_record_days", 0, "from 1 to 36500"),
        ("tmr_upstream_record_days", 1.5, "a whole number"),
        ("tmr_upstream_disk_reserve", True, "a whole number from 0 to 1048576"),
        ("tmr_upstream_clock_sync", "perhaps", "write true or false"),
        ("tmr_upstream_mode", "cluster", "write tmr or network"),
        ("tmr_upstream_twins", ["10.30.0.21"], "write a table"),
        ("tmr_server_port", "licences", "a whole number from 1 to 65535"),
        ("tmr_server_port", 70_000, "from 1 to 65535"),
        ("tmr_server_port", "2235٠", "a whole number"),  # noqa: RUF001 - a digit, but not of ASCII
        ("ansible_port", "ssh", "ansible_port is 'ssh'; write a whole number"),
        ("tmr_server_listen", "10.20.0.21", "write a list: [10.20.0.21]"),
        ("tmr_pki_renew_days", 0, "from 1 to 36500"),
        ("tmr_pki_renew_days", "0", "from 1 to 36500"),
        ("tmr_pki_renew_days", 369, "each run would renew them"),
        ("tmr_pki_spread_days", 337, "some for tmr_pki_spread_days: 337 fewer"),
        ("tmr_pki_spread_days", -1, "from 0 to 36500"),
        ("tmr_pki_name", "a b", "letters, digits"),
        ("tmr_pki_dir", "", "tmr_pki_dir is ''; write text"),
        ("tmr_pki_revoked", [4711], "4711 must be text, in quotation marks"),
        ("tmr_vip_interface", None, "write text"),
        ("tmr_vip_interface", "", "write text"),
        ("tmr_vip_interface", "the first one", "no name of an interface"),
        ("tmr_vip_interface", "../eth0", "no name of an interface"),
        ("tmr_firewall_management_networks", [], "nobody could log in any more"),
        ("tmr_firewall_management_networks", "10.0.0.0/8", "list at least one network"),
        ("tmr_firewall_management_networks", ["10.0.0.1/8"], "host bits set: write 10.0.0.0/8"),
        ("tmr_firewall_management_networks", ["controller"], "'controller' is no network"),
        ("tmr_firewall_management_networks", [None], "None is no network"),
        ("tmr_firewall_client_networks", [], "no client could get a licence"),
        ("tmr_firewall_monitoring_networks", ["prometheus"], "'prometheus' is no network"),
        ("tmr_firewall_monitoring_networks", "10.20.0.5", "list at least one network"),
        ("tmr_firewall_ssh_port", "ssh", "a whole number from 1 to 65535"),
        ("tmr_firewall_extra_rules", "accept", "write a list"),
        ("tmr_firewall_extra_rules", ["} chain x {"], "no nftables rule"),
        ("tmr_firewall_extra_rules", ["accept\ndrop"], "as one line"),
        ("tmr_firewall_extra_rules", [""], "must be text"),
        ("tmr_release_keep", 0, "from 1 to 1000"),
        ("tmr_time_wait", -1, "from 0 to 3600"),
        ("tmr_time_servers", [17], "must be text"),
    ],
)
def test_a_value_that_no_role_can_use_is_named(name: str, value: object, said: str) -> None:
    found = check({name: value})
    assert found
    assert all(name in sentence for sentence in found)
    assert said in found[0]
    assert found[0].startswith(("all: ", "up1: "))


def test_right_values_are_taken_also_as_text() -> None:
    right = {
        "tmr_upstream_record_days": "30",
        "tmr_upstream_clock_sync": "no",
        "tmr_upstream_mode": "tmr",
        "tmr_server_port": 22350,
        "tmr_vip_interface": "bond0.100",
        "tmr_firewall_management_networks": ["10.0.0.0/8", "fd00::1", "0.0.0.0/0"],
        "tmr_firewall_extra_rules": ["ip saddr { 10.20.0.5, 10.20.0.6 } tcp dport 9100 accept"],
        "tmr_time_servers": [],
        "tmr_pki_renew_days": "90",
        "tmr_server_lease_ttl": "2.5",
    }
    assert check(right) == []
    assert check({}) == []


def test_the_defaults_of_the_roles_are_right() -> None:
    defaults: dict[str, Any] = {}
    for path in ROLES.glob("tmr_*/defaults/main.yml"):
        defaults.update(yaml.safe_load(path.read_text()))
    written = {name: value for name, value in defaults.items() if "{{" not in str(value)}
    assert len(written) > 15
    assert check(written) == []
    days = (plugin.DAYS, plugin.RENEW_DAYS, plugin.SPREAD_DAYS)
    assert tuple(written[f"tmr_pki_{name}"] for name in ("days", "renew_days", "spread_days")) == days


def test_every_range_is_of_a_variable() -> None:
    assert set(plugin.RANGES) - set(OPTIONS) == {"ansible_port"}
    assert set(plugin.NETWORKS) <= set(OPTIONS)


def test_the_firewall_keeps_open_the_port_that_ansible_uses() -> None:
    (mistake,) = check({}, up2={"ansible_port": 2222})
    assert "up2: ansible_port is 2222, but the firewall keeps port 22 open" in mistake
    assert check({}, up2={"ansible_port": 2222, "tmr_firewall_ssh_port": 2222}) == []
    assert check({}, up2={"ansible_port": 2222, "tmr_firewall_ssh_port": 22}) == [], "forwarded by another"
    assert check({}, cad={"ansible_port": 2222}) == [], "a client has no firewall of ours"


def test_two_machines_have_two_names_in_their_certificates() -> None:
    (mistake,) = check({}, up1={"tmr_pki_name": "Store"}, up2={"tmr_pki_name": "store"})
    assert "up1 and up2 have the same name in their certificates" in mistake
    (mistake,) = check({}, cad={"tmr_pki_name": "TMR1"})
    assert "tmr1 and cad" in mistake
