# SPDX-License-Identifier: Apache-2.0
"""Jinja filters: `tmr_inventory_value_mistakes`, every single value of an inventory, before any connection;
`tmr_inventory_locked_out`, whether the firewall would shut the controller out of a machine.

Types and choices are those of the roles' argument_specs, so that a role learns of no value that it cannot
take. `check`, the first step itself, is a plain function: variables of the hosts in, sentences out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml

Hosts: TypeAlias = Mapping[str, Mapping[str, Any]]
Groups: TypeAlias = Mapping[str, Sequence[str]]
Options: TypeAlias = Mapping[str, Mapping[str, Any]]

SERVERS = ("upstreams", "twins", "network_servers")
GROUPS = (*SERVERS, "clients")

PORT = (1, 65_535)
RANGES: Mapping[str, tuple[float, float]] = {
    "ansible_port": PORT,
    "tmr_firewall_ssh_port": PORT,
    "tmr_server_port": PORT,
    "tmr_upstream_port": PORT,
    "tmr_client_port": PORT,
    "tmr_vip_release_port": PORT,
    "tmr_upstream_record_days": (1, 36_500),
    "tmr_upstream_disk_reserve": (0, 1_048_576),
    "tmr_upstream_lease_ttl": (0.5, 60),
    "tmr_server_lease_ttl": (0.5, 60),
    "tmr_pki_days": (1, 36_500),
    "tmr_pki_renew_days": (1, 36_500),
    "tmr_pki_spread_days": (0, 36_500),
    "tmr_pki_ca_days": (1, 36_500),
    "tmr_release_keep": (1, 1000),
    "tmr_time_wait": (0, 3600),
}
EMPTY = {
    "tmr_firewall_management_networks": ": nobody could log in any more",
    "tmr_firewall_client_networks": ": no client could get a licence",
}
OPTIONAL = ("tmr_firewall_monitoring_networks",)
NETWORKS = ("tmr_firewall_management_networks", "tmr_firewall_client_networks", *OPTIONAL)
# The defaults of tmr_pki and tmr_firewall.
DAYS, RENEW_DAYS, SPREAD_DAYS = 397, 60, 28
SSH_PORT, MANAGEMENT_NETWORKS = 22, ["0.0.0.0/0", "::/0"]

# What the kernel takes as the name of an interface, without what systemd and sysctl would read otherwise.
_INTERFACE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,14}")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")
_WORDS = {
    "str": "text",
    "path": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}


def check(hosts: Hosts, groups: Groups, options: Options) -> list[str]:
    """Mistakes in the values of an inventory, none when they are right.

    `hosts`: variables of each host; `groups`: members of each group; `options`: what the argument_specs of
    the roles say of each variable.
    """
    members = [host for group in GROUPS for host in groups.get(group, ()) if host in hosts]
    found: list[str] = []
    for host in members:
        for name, value in sorted(hosts[host].items()):
            whose = "all" if all(hosts[other].get(name) == value for other in members) else host
            found += [f"{whose}: {sentence}" for sentence in _value(name, value, options.get(name, {}))]
        found += _between(host, hosts[host])
    servers = [host for group in SERVERS for host in groups.get(group, ()) if host in hosts]
    for host in servers:
        found += _ssh(host, hosts[host])
    return [*dict.fromkeys(found), *_names(hosts, members)]


def _value(name: str, value: object, option: Mapping[str, Any]) -> Iterator[str]:
    if name in NETWORKS:
        yield from _networks(name, value)
        return
    if name == "ansible_port":
        option = {"type": "int"}
    kind, choices = option.get("type", "raw"), option.get("choices")
    if kind == "list":
        yield from _list(name, value, option.get("elements", "raw"))
        return
    if kind == "dict":
        if not isinstance(value, Mapping):
            yield f"{name} is {value!r}; write a table: names, each with its value"
        return
    if kind in _WORDS and not _is(value, kind):
        yield f"{name} is {value!r}; write {_WORDS[kind]}{_span(name)}"
    elif choices and value not in choices:
        yield f"{name} is {value!r}; write {' or '.join(map(str, choices))}"
    elif name in RANGES and not RANGES[name][0] <= float(str(value)) <= RANGES[name][1]:
        yield f"{name} is {value!r}; write {_WORDS[kind]}{_span(name)}"
    elif name == "tmr_vip_interface" and not _INTERFACE.fullmatch(str(value)):
        yield f"{name} is {value!r}, no name of an interface; `ip address` on the machine lists them, as eth0"
    elif name == "tmr_pki_name" and not _NAME.fullmatch(str(value)):
        yield f"{name} is {value!r}; use at most 63 letters, digits, - and ."


def _list(name: str, value: object, elements: str) -> Iterator[str]:
    if not isinstance(value, list | tuple):
        yield f"{name} is {value!r}; write a list: [{value}]"
        return
    for element in value:
        if elements in _WORDS and not _is(element, elements):
            quoted = ", in quotation marks" if elements == "str" else ""
            yield f"{name}: {element!r} must be {_WORDS[elements]}{quoted}"
        elif name == "tmr_firewall_extra_rules" and not _one_rule(str(element)):
            yield f"{name}: {element!r} is no nftables rule; write each rule as one line, with paired braces"


def _one_rule(text: str) -> bool:
    depth = 0
    for sign in text:
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            return False
    return depth == 0 and bool(text.strip()) and not {"\n", "\r", "#"} & set(text)


def _networks(name: str, value: object) -> Iterator[str]:
    if name in OPTIONAL and value == []:
        return
    if not isinstance(value, list | tuple) or not value:
        yield f"{name} is {value!r}{EMPTY.get(name, '')}; list at least one network, as [192.168.20.0/24]"
        return
    for network in value:
        try:
            ipaddress.ip_network(str(network))
        except ValueError:
            yield f"{name}: {network!r} is no network; {_network_meant(str(network))}"


def _network_meant(text: str) -> str:
    try:
        return f"it has host bits set: write {ipaddress.ip_network(text, strict=False)}"
    except ValueError:
        return "write for example 192.168.20.0/24, or one address"


def _between(host: str, variables: Mapping[str, Any]) -> Iterator[str]:
    """Values that must fit together."""
    days, renew = variables.get("tmr_pki_days", DAYS), variables.get("tmr_pki_renew_days", RENEW_DAYS)
    spread = variables.get("tmr_pki_spread_days", SPREAD_DAYS)
    if not all(_is(value, "int") for value in (days, renew, spread)):
        return
    if int(str(renew)) >= int(str(days)) - int(str(spread)):
        yield (
            f"{host}: tmr_pki_renew_days is {renew}, and certificates are valid for tmr_pki_days: {days}"
            f" days, some for tmr_pki_spread_days: {spread} fewer: each run would renew them; choose fewer"
            " days to renew, or to spread"
        )


def _ssh(host: str, variables: Mapping[str, Any]) -> Iterator[str]:
    """Where only ansible_port is set, sshd listens there: a port that another machine forwards is set as
    both, and compared on the machine itself."""
    port = variables.get("ansible_port")
    if port is not None and _is(port, "int") and "tmr_firewall_ssh_port" not in variables and int(port) != 22:
        yield (
            f"{host}: ansible_port is {port}, but the firewall keeps port 22 open for ssh; set"
            f" tmr_firewall_ssh_port to the port of sshd on the machine: {port}, unless another machine"
            " forwards it"
        )


def _names(hosts: Hosts, members: Sequence[str]) -> Iterator[str]:
    """Names in certificates: one for each machine, and no two that a person or DNS takes for one."""
    owners: dict[str, str] = {}
    for host in members:
        name = str(hosts[host].get("tmr_pki_name", host))
        other = owners.setdefault(name.casefold(), host)
        if other != host and any("tmr_pki_name" in hosts[one] for one in (host, other)):
            yield (
                f"{other} and {host} have the same name in their certificates, {name}, but for capitals;"
                " give each its own tmr_pki_name, or leave it out"
            )


def _is(value: object, kind: str) -> bool:
    """Tell whether a value is of the kind; numbers may come as text: `-e name=5` gives text."""
    if kind in ("str", "path"):
        return isinstance(value, str) and bool(value.strip())
    if kind == "bool":
        return isinstance(value, bool) or str(value).lower() in ("true", "false", "yes", "no")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    return bool(re.fullmatch(r"-?[0-9]+" if kind == "int" else r"-?[0-9]+(\.[0-9]+)?", str(value)))


def _span(name: str) -> str:
    if name not in RANGES:
        return ""
    low, high = RANGES[name]
    return f" from {low:g} to {high:.0f}"


def specified(roles: Path) -> dict[str, dict[str, Any]]:
    """What the argument_specs of the roles in `roles` say of each variable."""
    found: dict[str, dict[str, Any]] = {}
    for path in roles.glob("tmr_*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            found.update(entry.get("options", {}))
    return found


def mistakes(hostvars: Mapping[str, Any], groups: Groups) -> list[str]:
    """The filter: `hostvars | tmr_inventory_value_mistakes(groups)`."""
    options = specified(Path(__file__).resolve().parents[2])
    # Checked more closely by tmr_inventory_mistakes.
    wanted = {name for name in options if name.startswith("tmr_")} - {"tmr_system", "tmr_vip_addresses"}
    hosts = {
        host: {
            name: hostvars[host][name]
            for name in hostvars[host]
            if name in wanted - {"tmr_vip_watch_targets"} or name == "ansible_port"
        }
        for group in GROUPS
        for host in groups.get(group, ())
    }
    return check(hosts, groups, options)


def locked_out(host: str, hostvars: Mapping[str, Any], connection: str) -> str:
    """The filter: `host | tmr_inventory_locked_out(hostvars, connection)`.

    `connection`: SSH_CONNECTION of the machine, empty where Ansible did not come by ssh. Why the firewall of
    the inventory would not let the controller in again; empty: it would.
    """
    names = ("tmr_firewall_management_networks", "tmr_firewall_ssh_port")
    return shut_out(
        host, {name: hostvars[host][name] for name in names if name in hostvars[host]}, connection
    )


def shut_out(host: str, variables: Mapping[str, Any], connection: str) -> str:
    """What `locked_out` returns, from plain variables."""
    words = connection.split()
    if len(words) != 4:
        return ""
    source = ipaddress.ip_address(words[0].partition("%")[0])
    source = getattr(source, "ipv4_mapped", None) or source
    port = int(str(variables.get("tmr_firewall_ssh_port", SSH_PORT)))
    if int(words[3]) != port:
        return (
            f"{host}: its sshd listens on port {words[3]}, and the firewall would keep port {port} open: the"
            f" controller could not log in any more. Set tmr_firewall_ssh_port: {words[3]}"
        )
    networks = variables.get("tmr_firewall_management_networks", MANAGEMENT_NETWORKS)
    if any(source in ipaddress.ip_network(str(network)) for network in networks):
        return ""
    return (
        f"{host}: the controller comes from {source}, and tmr_firewall_management_networks"
        f" ({', '.join(map(str, networks))}) does not have this address: it could not log in any more. Add"
        f" {source} or its network"
    )


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions of the filters."""
        return {"tmr_inventory_value_mistakes": mistakes, "tmr_inventory_locked_out": locked_out}
