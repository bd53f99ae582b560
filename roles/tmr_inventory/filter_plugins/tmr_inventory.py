# SPDX-License-Identifier: Apache-2.0
"""Jinja filters: `tmr_inventory_mistakes`, everything that is wrong with an inventory, before any connection;
`tmr_inventory_mistaken`, in what a machine is not the one that it is taken for.

The first check itself, `validate`, is a plain function: variables of the hosts in, sentences out. Each
sentence names the mistake, the host and the variable, and the remedy.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Hosts: TypeAlias = Mapping[str, Mapping[str, Any]]
Groups: TypeAlias = Mapping[str, Sequence[str]]

SIZES = {"upstreams": 3, "twins": 2}
NETWORK = "network_servers"
GROUPS = (*SIZES, NETWORK, "clients")
MODES = {"upstreams": "tmr", NETWORK: "network"}
# The kernel's lifetimes of addresses are whole seconds, and a lease is shorter for its holder than its TTL.
TTL_MIN, TTL_MAX = 1.5, 10.0
RENAMED_HINT = 0.75

# Of the whole inventory; those that begin with a role's name are in that role's argument_specs.
SHARED = frozenset(
    {
        "tmr_system",
        "tmr_front_networks",
        "tmr_back_networks",
        "tmr_vip_addresses",
        "tmr_front_addresses",
        "tmr_back_address",
        "tmr_lease_ttl",
    }
)

ALIKE = ("tmr_system", "tmr_vip_addresses", "tmr_front_networks", "tmr_back_networks", "tmr_lease_ttl")

# RFC 1123, section 2.1, and what the agents take as a name in a certificate.
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")
# Of `ip -oneline address`.
_SHOWN = re.compile(r" inet6? (\S+)")
_SYSTEM = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def validate(hosts: Hosts, groups: Groups, known: frozenset[str] = SHARED) -> list[str]:
    """Mistakes in an inventory, none when it is right.

    `hosts`: variables of each host; `groups`: members of each group; `known`: names that variables beginning
    with `tmr_` may have.
    """
    found = list(_groups(hosts, groups))
    members = [host for group in GROUPS for host in groups.get(group, ()) if host in hosts]
    if not members:
        return found
    found += _typos(hosts, members, known)
    found += _common(hosts, members)
    found += _addresses(hosts, groups)
    return list(dict.fromkeys(found))


def _groups(hosts: Hosts, groups: Groups) -> Iterator[str]:
    alone = list(groups.get(NETWORK, ()))
    if len(alone) > 1:
        yield (
            f"group {NETWORK} has {len(alone)} hosts: {', '.join(alone)}; each network licence server is a"
            " system of its own: give each an inventory"
        )
    for group, size in SIZES.items():
        members = list(groups.get(group, ()))
        if alone:
            if members:
                yield (
                    f"group {group} has {_count(len(members))} beside {alone[0]} in {NETWORK}; a network"
                    " licence server works alone: give the TMR system an inventory of its own"
                )
            continue
        if len(members) != size:
            listed = f": {', '.join(members)}" if members else ""
            close = difflib.get_close_matches(group, [name for name in groups if name not in GROUPS], n=1)
            hint = f" (is the group {close[0]} meant?)" if close else ""
            yield (
                f"group {group} has {_count(len(members))}{listed}{hint}; a TMR system has exactly {size}: "
                f"{'add' if len(members) < size else 'take out'} {abs(size - len(members))}"
            )
    seen: dict[str, str] = {}
    for group in GROUPS:
        for host in groups.get(group, ()):
            if host in seen:
                yield (f"{host} is in the groups {seen[host]} and {group}; take it out of one")
            seen.setdefault(host, group)
            if len(host) > 63 or not _HOST.fullmatch(host):
                yield (
                    f"{host!r} cannot be the name of a machine; use letters, digits, - and . only"
                    " (the address goes to ansible_host)"
                )
            elif _address(host) is not None:
                yield (
                    f"{host} is an address, not a name; name the machine, and put the address to ansible_host"
                )
    reached: dict[str, str] = {}
    for host in seen:
        at = str(hosts.get(host, {}).get("ansible_host", host)).casefold()
        port = hosts.get(host, {}).get("ansible_port", 22)
        other = reached.setdefault(f"{at} port {port}", host)
        if other != host:
            yield f"{other} and {host} are both reached at {at} port {port}; correct ansible_host of one"
    lower: dict[str, str] = {}
    for host in seen:
        other = lower.setdefault(host.lower(), host)
        if other != host:
            yield f"{other} and {host} differ in capitals only; give them different names"


def _count(number: int) -> str:
    return "no host" if number == 0 else "1 host" if number == 1 else f"{number} hosts"


def _typos(hosts: Hosts, members: Sequence[str], known: frozenset[str]) -> Iterator[str]:
    for host in members:
        for name in sorted(hosts[host]):
            if name.startswith("tmr_") and name not in known:
                close = difflib.get_close_matches(name, known, n=1, cutoff=RENAMED_HINT)
                hint = f"is {close[0]} meant?" if close else "see docs/reference/roles.md for those there are"
                yield f"{_where(hosts, members, host, name)}: unknown variable {name}; {hint}"


def _common(hosts: Hosts, members: Sequence[str]) -> Iterator[str]:
    """What all machines must have alike."""
    for name in ALIKE:
        values = {host: hosts[host].get(name) for host in members}
        first = values[members[0]]
        for host, value in values.items():
            if value != first:
                yield (
                    f"{host}: {name} is {value!r}, but {first!r} for {members[0]}; it belongs to the whole"
                    " system: set it once, in group_vars/all"
                )
    variables = hosts[members[0]]
    system = variables.get("tmr_system")
    if system is None:
        yield "tmr_system is not set; name the TMR system in group_vars/all, for example tmr_system: plant-2"
    elif not isinstance(system, str) or not _SYSTEM.fullmatch(system):
        yield (f"tmr_system is {system!r}; use 1 to 32 small letters, digits and -, with no - at either end")
    ttl = variables.get("tmr_lease_ttl", 2.0)
    seconds = _number(ttl)
    if seconds is None or not TTL_MIN <= seconds <= TTL_MAX:
        yield f"tmr_lease_ttl is {ttl!r}; give seconds as a number from {TTL_MIN:g} to {TTL_MAX:g} (usual: 2)"


def _addresses(hosts: Hosts, groups: Groups) -> Iterator[str]:
    for group, mode in MODES.items():
        for host in groups.get(group, ()):
            given = hosts.get(host, {}).get("tmr_upstream_mode", mode)
            if given != mode:
                yield (
                    f"{host}: tmr_upstream_mode is {given!r}, but the group {group} is of the mode {mode};"
                    " leave it out, and put the machine into the right group"
                )
    alone = [host for host in groups.get(NETWORK, ()) if host in hosts]
    if alone:
        yield from _network_addresses(hosts, alone)
        return
    members = [host for group in SIZES for host in groups.get(group, ()) if host in hosts]
    if not members:
        return
    variables = hosts[members[0]]
    front, mistakes = _networks(variables, "tmr_front_networks", "10.20.0.0/24")
    yield from mistakes
    back, mistakes = _networks(variables, "tmr_back_networks", "10.30.0.0/24")
    yield from mistakes
    for one in front:
        for other in back:
            if one.version == other.version and one.overlaps(other):
                yield (
                    f"tmr_front_networks {one} and tmr_back_networks {other} overlap; clients must not"
                    " share a network with the upstreams: use two"
                )
    owner: dict[Address, str] = {}
    for host in members:
        name, networks, kind = "tmr_back_address", back, "back"
        address, mistake = _one(hosts[host], host, name, "10.30.0.11")
        yield from mistake
        if address is not None:
            yield from _inside(address, f"{host}: {name}", networks, kind)
            yield from _claim(owner, address, f"{host} ({name})")
    for host in groups.get("twins", ()):
        if host in hosts:
            name = "tmr_front_addresses"
            found, mistake = _several(hosts[host], f"{host}: {name}", name, "10.20.0.21")
            yield from mistake
            for address in found:
                yield from _inside(address, f"{host}: {name}", front, "front")
                yield from _claim(owner, address, f"{host} ({name})")
    found, mistake = _several(variables, "tmr_vip_addresses", "tmr_vip_addresses", "10.20.0.100")
    yield from mistake
    for address in found:
        yield from _inside(address, "tmr_vip_addresses", front, "front")
        yield from _claim(owner, address, "tmr_vip_addresses")
    for host in groups.get("twins", ()):
        if host in hosts:
            yield from _watched(hosts[host], host, front, found)
    for host in groups.get("clients", ()):
        reached = _address(hosts[host].get("ansible_host", "")) if host in hosts else None
        if reached in found:
            yield f"{host}: ansible_host {reached} is the virtual address; give the machine one of its own"


def _watched(
    variables: Mapping[str, Any], host: str, front: Sequence[Network], virtual: Sequence[Address]
) -> Iterator[str]:
    """The machines whose answers show a twin that its front network works."""
    name = "tmr_vip_watch_targets"
    if not variables.get(name):
        return
    found, mistakes = _several(variables, f"{host}: {name}", name, "10.20.0.1")
    yield from mistakes
    for address in found:
        if address.version != 4:
            yield f"{host}: {name}: {address} is not asked by ARP; give the IPv4 address of the machine"
            continue
        yield from _inside(address, f"{host}: {name}", front, "front")
        if address in virtual:
            yield f"{host}: {name}: {address} is the virtual address; name the gateway, or leave it out"
        if str(address) in map(str, variables.get("tmr_front_addresses") or ()):
            yield f"{host}: {name}: {address} is its own address; name the gateway, or leave it out"


def _network_addresses(hosts: Hosts, servers: Sequence[str]) -> Iterator[str]:
    """A network licence server has front addresses alone."""
    front, mistakes = _networks(hosts[servers[0]], "tmr_front_networks", "10.20.0.0/24")
    yield from mistakes
    owner: dict[Address, str] = {}
    for host in servers:
        name = "tmr_front_addresses"
        found, mistake = _several(hosts[host], f"{host}: {name}", name, "10.20.0.21")
        yield from mistake
        for address in found:
            yield from _inside(address, f"{host}: {name}", front, "front")
            yield from _claim(owner, address, f"{host} ({name})")


def _networks(variables: Mapping[str, Any], name: str, example: str) -> tuple[list[Network], list[str]]:
    values = variables.get(name)
    if not isinstance(values, list | tuple) or not values:
        return [], [f"{name} must list at least one network; for example {name}: [{example}]"]
    networks: list[Network] = []
    mistakes = []
    for value in values:
        try:
            networks.append(ipaddress.ip_network(str(value)))
        except ValueError as error:
            try:
                right = ipaddress.ip_network(str(value), strict=False)
                mistakes.append(f"{name}: {value} has host bits set; write {right}")
            except ValueError:
                mistakes.append(f"{name}: {value!r} is no network ({error}); write for example {example}")
    return networks, mistakes


def _one(
    variables: Mapping[str, Any], host: str, name: str, example: str
) -> tuple[Address | None, list[str]]:
    value = variables.get(name)
    if value is None:
        return None, [f"{host}: {name} is not set; give the machine's address, for example {name}: {example}"]
    address = _address(value)
    if address is None:
        return None, [f"{host}: {name} is {value!r}, no IP address; write for example {name}: {example}"]
    return address, []


def _several(
    variables: Mapping[str, Any], where: str, name: str, example: str
) -> tuple[list[Address], list[str]]:
    values = variables.get(name)
    if not isinstance(values, list | tuple) or not values:
        return [], [f"{where} must list at least one address; for example {name}: [{example}]"]
    pairs = [(value, _address(value)) for value in values]
    mistakes = [
        f"{where}: {value!r} is no IP address without prefix length; write for example {name}: [{example}]"
        for value, address in pairs
        if address is None
    ]
    return [address for _, address in pairs if address is not None], mistakes


def _inside(address: Address, where: str, networks: Sequence[Network], kind: str) -> Iterator[str]:
    if not networks:
        return
    around = [network for network in networks if address in network]
    if not around:
        yield (
            f"{where}: {address} is outside the {kind} network {' '.join(map(str, networks))};"
            f" correct the address, or tmr_{kind}_networks"
        )
    for network in around:
        if network.version == 4 and network.prefixlen < 31 and address == network.broadcast_address:
            yield f"{where}: {address} is the broadcast address of {network}; choose one between"
        if network.prefixlen < network.max_prefixlen - 1 and address == network.network_address:
            yield f"{where}: {address} is the address of the network {network} itself; choose one inside"


def _claim(owner: dict[Address, str], address: Address, claimant: str) -> Iterator[str]:
    other = owner.setdefault(address, claimant)
    if other != claimant:
        yield f"{address} is given twice, to {other} and to {claimant}; each machine and VIP needs its own"
    elif claimant == "tmr_vip_addresses":
        owner[address] = "tmr_vip_addresses, listed twice"


def _address(value: object) -> Address | None:
    try:
        return ipaddress.ip_address(str(value))
    except ValueError:
        return None


def _number(value: object) -> float | None:
    """A number, also as text: `-e name=2.5` gives text."""
    if isinstance(value, bool):
        return None
    try:
        return float(str(value))
    except ValueError:
        return None


def _where(hosts: Hosts, members: Sequence[str], host: str, name: str) -> str:
    """`all` instead of each host, for a variable that all have."""
    return "all" if all(name in hosts[other] for other in members) else host


def known_variables(roles: Path) -> frozenset[str]:
    """Names of all variables: the shared ones, and what the argument_specs of the roles in `roles` list."""
    names = set(SHARED)
    for path in roles.glob("tmr_*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            names.update(entry.get("options", {}))
    return frozenset(names)


def mistakes(hostvars: Mapping[str, Any], groups: Groups) -> list[str]:
    """The filter: `hostvars | tmr_inventory_mistakes(groups)`."""
    members = {host for group in GROUPS for host in groups.get(group, ())}
    hosts = {host: _plain(hostvars[host]) for host in members}
    return validate(hosts, groups, known_variables(Path(__file__).resolve().parents[2]))


def mistaken(host: str, hostvars: Mapping[str, Any], shown: str, former: str) -> str:
    """The filter: `host | tmr_inventory_mistaken(hostvars, shown, former)`.

    `shown`: output of `ip -oneline address` on the machine; `former`: the name under which it was deployed
    before, or empty. In what the machine is not the one that the inventory calls `host`; empty: in nothing.
    """
    return misplaced(host, {name: _plain(hostvars[name]) for name in hostvars}, shown, former.strip())


def misplaced(host: str, hosts: Hosts, shown: str, former: str) -> str:
    """What `mistaken` returns, from plain variables."""
    name = str(hosts[host].get("tmr_pki_name", host))
    if former and former != name:
        return (
            f"{host}: the machine that is reached by this name was deployed as {former}. If the two are"
            f" exchanged in the inventory, correct ansible_host and the addresses; if {former} is to become"
            f" {name}, remove /etc/tmr and its state in /var/lib first"
        )
    found = {_address(word.partition("/")[0]) for word in _SHOWN.findall(shown)}
    lacks = [address for address in _own(hosts[host]) if address not in found]
    if not lacks:
        return ""
    others = [other for other in hosts if other != host and found.intersection(_own(hosts[other]))]
    hint = f", but that of {others[0]}: are the two exchanged in the inventory?" if others else "."
    has = ", ".join(sorted(str(address) for address in found if address and not _local(address)))
    return (
        f"{host}: the machine does not have the address {' and '.join(map(str, lacks))} of the inventory"
        f"{hint} It has {has or 'none'}. Correct tmr_back_address, tmr_front_addresses or ansible_host, or"
        " give it the address"
    )


def _own(variables: Mapping[str, Any]) -> list[Address]:
    values = [variables.get("tmr_back_address"), *(variables.get("tmr_front_addresses") or ())]
    return [address for address in map(_address, values) if address is not None]


def _local(address: Address) -> bool:
    return address.is_loopback or address.is_link_local


def _plain(variables: Mapping[str, Any]) -> dict[str, Any]:
    names = [
        name for name in variables if name.startswith("tmr_") or name in ("ansible_host", "ansible_port")
    ]
    return {name: variables[name] for name in names}


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions of the filters."""
        return {"tmr_inventory_mistakes": mistakes, "tmr_inventory_mistaken": mistaken}
