# SPDX-License-Identifier: Apache-2.0
"""The machines of the lab, their networks and their addresses. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from lab.errors import LabError

FABRIC_NUMBER = 254
"""Host number of the fabric itself on every network: from there Ansible reaches the machines."""


@dataclass(frozen=True)
class Network:
    """One LAN: a /24 and a /64 in parallel, with one number a machine (10.20.0.21, fd00:20::21)."""

    name: str
    ipv4_prefix: str
    ipv6_prefix: str

    def ipv4(self, number: int) -> str:
        return f"{self.ipv4_prefix}.{number}"

    def ipv6(self, number: int) -> str:
        return f"{self.ipv6_prefix}::{number}"

    def mac(self, number: int) -> str:
        """Locally administered, and readable: 02:00 and the four bytes of the IPv4 address."""
        return ":".join(["02", "00", *(f"{int(octet):02x}" for octet in self.ipv4(number).split("."))])


@dataclass(frozen=True)
class Machine:
    """One machine; `networks` in the order of its interfaces eth0, eth1."""

    name: str
    number: int
    networks: tuple[Network, ...]

    @property
    def management(self) -> Network:
        """The network over which ssh reaches it: back where it has one."""
        return self.networks[-1]

    @property
    def address(self) -> str:
        """IPv4 address on the management network."""
        return self.management.ipv4(self.number)

    def port(self, network: Network) -> str:
        """Name of the fabric's end of its cable to `network`."""
        return f"{self.name}.{network.name}"

    def network(self, name: str) -> Network:
        for network in self.networks:
            if network.name == name:
                return network
        has = " and ".join(network.name for network in self.networks)
        raise LabError(f"{self.name} has no cable to {name!r}: it is on {has} only")


FRONT = Network("front", "10.20.0", "fd00:20")
BACK = Network("back", "10.30.0", "fd00:30")
NETWORKS = (FRONT, BACK)

MACHINES = {
    machine.name: machine
    for machine in (
        Machine("up1", 11, (BACK,)),
        Machine("up2", 12, (BACK,)),
        Machine("up3", 13, (BACK,)),
        Machine("tmr1", 21, (FRONT, BACK)),
        Machine("tmr2", 22, (FRONT, BACK)),
        Machine("client", 31, (FRONT,)),
    )
}


def machine_named(name: str) -> Machine:
    """The machine of that name; LabError that lists the names otherwise."""
    try:
        return MACHINES[name]
    except KeyError:
        raise LabError(f"no machine {name!r} in the lab: choose from {', '.join(MACHINES)}") from None


def hosts_file(viewer: Machine) -> str:
    """/etc/hosts of `viewer`: a bare machine name leads to an address on a network both are on."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    for machine in MACHINES.values():
        shared = [network for network in machine.networks if network in viewer.networks]
        for network in machine.networks:
            names = f"{machine.name}-{network.name}"
            if shared and network == shared[-1]:
                names = f"{machine.name} {names}"
            lines += [f"{network.ipv4(machine.number)} {names}", f"{network.ipv6(machine.number)} {names}"]
    return "\n".join(lines) + "\n"
