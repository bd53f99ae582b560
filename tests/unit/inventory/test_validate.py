# SPDX-License-Identifier: Apache-2.0
"""The check of an inventory: each mistake is found, and its message names host, variable and remedy."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.roles.plugin import ROLES, load

plugin = load("tmr_inventory/filter_plugins/tmr_inventory.py")

Inventory = tuple[dict[str, dict[str, Any]], dict[str, list[str]]]

COMMON = {
    "tmr_system": "plant",
    "tmr_front_networks": ["10.20.0.0/24", "fd00:20::/64"],
    "tmr_back_networks": ["10.30.0.0/24"],
    "tmr_vip_addresses": ["10.20.0.100"],
}


def right() -> Inventory:
    hosts: dict[str, dict[str, Any]] = {
        **{f"up{n}": {**COMMON, "tmr_back_address": f"10.30.0.1{n}"} for n in (1, 2, 3)},
        **{
            f"tmr{n}": {
                **COMMON,
                "tmr_back_address": f"10.30.0.2{n}",
                "tmr_front_addresses": [f"10.20.0.2{n}", f"fd00:20::2{n}"],
            }
            for n in (1, 2)
        },
        "client": dict(COMMON),
    }
    groups = {"upstreams": ["up1", "up2", "up3"], "twins": ["tmr1", "tmr2"], "clients": ["client"]}
    return copy.deepcopy(hosts), groups


def everywhere(name: str, value: object) -> Callable[[Inventory], None]:
    def change(inventory: Inventory) -> None:
        for variables in inventory[0].values():
            variables[name] = value

    return change


def at(host: str, name: str, value: object) -> Callable[[Inventory], None]:
    def change(inventory: Inventory) -> None:
        inventory[0][host][name] = value

    return change


def without(host: str, name: str) -> Callable[[Inventory], None]:
    def change(inventory: Inventory) -> None:
        del inventory[0][host][name]

    return change


def members(group: str, *names: str) -> Callable[[Inventory], None]:
    def change(inventory: Inventory) -> None:
        hosts, groups = inventory
        groups[group] = list(names)
        for name in names:
            hosts.setdefault(name, dict(COMMON))

    return change


MISTAKES = [
    (members("upstreams", "up1", "up2"), ["group upstreams has 2 hosts: up1, up2", "exactly 3", "add 1"]),
    (
        members("upstreams", "up1", "up2", "up3", "up4"),
        ["group upstreams has 4 hosts", "exactly 3", "take out 1"],
    ),
    (members("twins", "tmr1"), ["group twins has 1 host: tmr1", "exactly 2", "add 1"]),
    (members("twins", "tmr1", "up1"), ["up1", "upstreams and twins", "take it out of one"]),
    (members("twins", "tmr1", "tmr_2"), ["'tmr_2' cannot be the name of a machine", "use letters"]),
    (members("twins", "tmr1", "10.20.0.22"), ["10.20.0.22 is an address, not a name", "ansible_host"]),
    (members("twins", "tmr1", "TMR1"), ["tmr1 and TMR1 differ in capitals only"]),
    (at("up2", "tmr_back_address", "10.30.0.11"), ["10.30.0.11", "up1", "up2", "its own"]),
    (at("up2", "tmr_back_address", "10.30.0.300"), ["up2: tmr_back_address", "no IP address", "10.30.0.11"]),
    (at("up2", "tmr_back_address", "10.20.0.12"), ["up2", "outside the back network 10.30.0.0/24"]),
    (at("up2", "tmr_back_address", "10.30.0.255"), ["up2", "broadcast address"]),
    (at("up2", "tmr_back_address", "10.30.0.0"), ["up2", "the network 10.30.0.0/24 itself"]),
    (without("up2", "tmr_back_address"), ["up2: tmr_back_address is not set"]),
    (
        at("tmr1", "tmr_front_addresses", "10.20.0.21"),
        ["tmr1: tmr_front_addresses must list", "[10.20.0.21]"],
    ),
    (at("tmr1", "tmr_front_addresses", ["10.20.1.21"]), ["tmr1", "outside the front network"]),
    (at("tmr1", "tmr_front_addresses", ["10.20.0.21/24"]), ["tmr1", "without prefix length"]),
    (at("tmr2", "tmr_front_addresses", ["fd00:20::21"]), ["fd00:20::21 is given twice", "tmr1", "tmr2"]),
    (without("tmr1", "tmr_front_addresses"), ["tmr1: tmr_front_addresses must list"]),
    (everywhere("tmr_vip_addresses", ["10.20.1.100"]), ["tmr_vip_addresses: 10.20.1.100", "front network"]),
    (everywhere("tmr_vip_addresses", ["10.20.0.21"]), ["10.20.0.21 is given twice", "tmr1", "vip"]),
    (everywhere("tmr_vip_addresses", ["10.20.0.255"]), ["tmr_vip_addresses: 10.20.0.255", "broadcast"]),
    (everywhere("tmr_vip_addresses", ["10.20.0.0"]), ["tmr_vip_addresses: 10.20.0.0", "itself"]),
    (everywhere("tmr_vip_addresses", ["fd00:20::"]), ["tmr_vip_addresses: fd00:20::", "itself"]),
    (everywhere("tmr_vip_addresses", ["10.20.0.100", "10.20.0.100"]), ["10.20.0.100 is given twice"]),
    (everywhere("tmr_vip_addresses", []), ["tmr_vip_addresses must list at least one address"]),
    (at("tmr2", "tmr_vip_addresses", ["10.20.0.101"]), ["tmr2: tmr_vip_addresses", "group_vars/all"]),
    (at("client", "ansible_host", "10.20.0.100"), ["client: ansible_host", "virtual address"]),
    (
        everywhere("ansible_host", "10.30.0.11"),
        ["up1 and up2 are both reached at 10.30.0.11", "ansible_host"],
    ),
    (
        everywhere("tmr_vip_watch_targets", ["10.20.1.1"]),
        ["tmr1: tmr_vip_watch_targets: 10.20.1.1 is outside the front network"],
    ),
    (everywhere("tmr_vip_watch_targets", ["fd00:20::1"]), ["fd00:20::1 is not asked by ARP", "IPv4"]),
    (everywhere("tmr_vip_watch_targets", ["10.20.0.100"]), ["10.20.0.100 is the virtual address"]),
    (everywhere("tmr_vip_watch_targets", ["10.20.0.21"]), ["tmr1: tmr_vip_watch_targets", "its own address"]),
    (everywhere("tmr_vip_watch_targets", "gateway"), ["tmr_vip_watch_targets must list"]),
    (everywhere("tmr_vip_watch_targets", ["gateway"]), ["'gateway' is no IP address", "[10.20.0.1]"]),
    (everywhere("tmr_lease_ttl", 1.0), ["tmr_lease_ttl is 1.0", "from 1.5 to 10"]),
    (everywhere("tmr_lease_ttl", 11), ["tmr_lease_ttl is 11", "from 1.5 to 10"]),
    (everywhere("tmr_lease_ttl", "2s"), ["tmr_lease_ttl is '2s'", "as a number"]),
    (everywhere("tmr_lease_ttl", "nan"), ["tmr_lease_ttl is 'nan'"]),
    (everywhere("tmr_lease_ttl", True), ["tmr_lease_ttl is True"]),
    (everywhere("tmr_system", "Plant 2"), ["tmr_system is 'Plant 2'", "small letters"]),
    (everywhere("tmr_system", None), ["tmr_system is not set", "tmr_system: plant-2"]),
    (everywhere("tmr_front_networks", ["10.20.0.1/24"]), ["host bits", "write 10.20.0.0/24"]),
    (everywhere("tmr_back_networks", ["back"]), ["tmr_back_networks: 'back' is no network"]),
    (everywhere("tmr_back_networks", ["10.20.0.0/16", "10.30.0.0/24"]), ["overlap", "use two"]),
    (everywhere("tmr_leese_ttl", 3), ["all: unknown variable tmr_leese_ttl", "tmr_lease_ttl"]),
    (at("up1", "tmr_colour", "red"), ["up1: unknown variable tmr_colour", "docs/reference/roles.md"]),
]


def test_nothing_is_wrong_with_a_right_inventory() -> None:
    assert plugin.validate(*right()) == []


def test_a_number_may_come_as_text_from_the_command_line() -> None:
    inventory = right()
    everywhere("tmr_lease_ttl", "2.5")(inventory)
    assert plugin.validate(*inventory) == []


def test_clients_are_optional() -> None:
    hosts, groups = right()
    del groups["clients"]
    assert plugin.validate(hosts, groups) == []


@pytest.mark.parametrize(("change", "said"), MISTAKES, ids=[" ".join(said)[:60] for _, said in MISTAKES])
def test_a_mistake_is_named(change: Callable[[Inventory], None], said: list[str]) -> None:
    inventory = right()
    change(inventory)
    found = plugin.validate(*inventory)
    assert any(all(word in sentence for word in said) for sentence in found), found


def test_one_mistake_makes_one_sentence() -> None:
    inventory = right()
    at("up2", "tmr_back_address", "10.30.0.11")(inventory)
    assert len(plugin.validate(*inventory)) == 1


def test_a_misnamed_group_is_suggested() -> None:
    hosts, groups = right()
    groups["upstream"] = groups.pop("upstreams")
    assert "is the group upstream meant?" in plugin.validate(hosts, groups)[0]


def test_every_variable_of_a_role_is_known() -> None:
    known = plugin.known_variables(ROLES)
    assert {"tmr_vip_interface", "tmr_release_keep", "tmr_firewall_ssh_port", "tmr_system"} <= known


KNOWN = plugin.known_variables(ROLES)


# -- network licence servers -------------------------------------------------------------------------------


def network() -> Inventory:
    common = {"tmr_system": "plant", "tmr_front_networks": ["10.20.0.0/24"]}
    hosts = {"lic1": {**common, "tmr_front_addresses": ["10.20.0.11"]}, "client": dict(common)}
    return copy.deepcopy(hosts), {"network_servers": ["lic1"], "clients": ["client"]}


def test_a_network_licence_server_needs_no_twins_and_one_network() -> None:
    assert plugin.validate(*network()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (members("network_servers", "lic1", "lic2"), ["2 hosts: lic1, lic2", "an inventory"]),
        (members("upstreams", "client"), ["group upstreams has 1 host beside lic1", "works alone"]),
        (members("twins", "client"), ["group twins has 1 host beside lic1", "works alone"]),
        (without("lic1", "tmr_front_addresses"), ["lic1: tmr_front_addresses must list"]),
        (at("lic1", "tmr_front_addresses", ["10.30.0.11"]), ["lic1", "outside the front network"]),
        (at("lic1", "tmr_upstream_mode", "tmr"), ["lic1: tmr_upstream_mode is 'tmr'", "network_servers"]),
        (everywhere("tmr_front_networks", []), ["tmr_front_networks must list"]),
    ],
)
def test_mistakes_around_a_network_licence_server(
    change: Callable[[Inventory], None], said: list[str]
) -> None:
    inventory = network()
    change(inventory)
    (mistake, *_) = plugin.validate(*inventory, KNOWN)
    assert all(words in mistake for words in said), mistake


def test_an_upstream_is_not_made_a_network_licence_server_by_its_mode() -> None:
    inventory = right()
    inventory[0]["up2"]["tmr_upstream_mode"] = "network"
    (mistake,) = plugin.validate(*inventory, KNOWN)
    assert "up2: tmr_upstream_mode is 'network'" in mistake


def shown(*addresses: str) -> str:
    """As `ip -oneline address` prints them."""
    lines = ["1: lo    inet 127.0.0.1/8 scope host lo", "2: eth0    inet6 fe80::1/64 scope link"]
    kind = ["inet6" if ":" in address else "inet" for address in addresses]
    lines += [f"2: eth0    {inet} {one}/24 scope global" for inet, one in zip(kind, addresses, strict=True)]
    return "\n".join(lines)


def test_a_machine_is_the_one_that_is_meant() -> None:
    hosts, _ = right()
    assert plugin.misplaced("up1", hosts, shown("10.30.0.11"), "up1") == ""
    assert plugin.misplaced("up1", hosts, shown("10.30.0.11", "192.168.7.1"), "") == ""
    own = ("10.30.0.21", "10.20.0.21", "fd00:20:0:0::21", "10.20.0.100")
    assert plugin.misplaced("tmr1", hosts, shown(*own), "tmr1") == ""


def test_two_machines_are_exchanged() -> None:
    hosts, _ = right()
    said = plugin.misplaced("up1", hosts, shown("10.30.0.12"), "")
    assert "up1: the machine does not have the address 10.30.0.11 of the inventory, but that of up2" in said
    said = plugin.misplaced("up1", hosts, shown("10.30.0.11"), "up2")
    assert "was deployed as up2" in said and "ansible_host" in said


def test_a_machine_lacks_an_address() -> None:
    hosts, _ = right()
    said = plugin.misplaced("tmr2", hosts, shown("10.30.0.22", "10.20.0.22"), "tmr2")
    assert "tmr2: the machine does not have the address fd00:20::22 of the inventory. It has 10.20" in said
    assert "It has none" in plugin.misplaced("up3", hosts, shown(), "")
