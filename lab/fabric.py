# SPDX-License-Identifier: Apache-2.0
"""The two LANs: bridges in a namespace of their own, and the cables of each machine.

Nothing is ever added to the host's own network namespace.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.command import run
from lab.names import LabNames
from lab.topology import FABRIC_NUMBER, MACHINES, NETWORKS, Machine, Network

_NAMESPACES = Path("/run/netns")


def create(names: LabNames) -> None:
    """The fabric namespace with both bridges, and the fabric's own address (.254) on each."""
    _add_namespace(names.fabric)
    lines = ["link set lo up"]
    for network in NETWORKS:
        lines += [
            f"link add {network.name} address {network.mac(FABRIC_NUMBER)} "
            "type bridge forward_delay 0 mcast_snooping 0",
            f"addr add {network.ipv4(FABRIC_NUMBER)}/24 dev {network.name}",
            f"addr add {network.ipv6(FABRIC_NUMBER)}/64 dev {network.name} nodad",
            f"link set {network.name} up",
        ]
    _batch(names, lines)


def remove(names: LabNames) -> None:
    """Every namespace of the lab; the bridges and cables go with them."""
    for machine in MACHINES.values():
        unplug(names, machine)
    _delete_namespace(names.fabric)


def plug(names: LabNames, machine: Machine) -> None:
    """A fresh namespace and fresh cables: what addresses the machine had before are gone, as after a boot.

    A cable that was cut stays cut.
    """
    unplug(names, machine)
    namespace = names.namespace(machine)
    _add_namespace(namespace)
    lines = []
    for index, network in enumerate(machine.networks):
        port = machine.port(network)
        state = "down" if is_cut(names, machine, network) else "up"
        lines += [
            f"link add {port} type veth peer name eth{index} "
            f"address {network.mac(machine.number)} netns {namespace}",
            f"link set {port} master {network.name} {state}",
        ]
    _batch(names, lines)


def unplug(names: LabNames, machine: Machine) -> None:
    """Take cables and namespace away, if they are there.

    A namespace dies later, in a kernel worker; the cables are deleted by name first so that new ones of the
    same name can follow at once.
    """
    if exists(names.fabric):
        lines = [f"link del {machine.port(network)}" for network in machine.networks]
        run("ip", "-n", names.fabric, "-force", "-batch", "-", text="\n".join(lines) + "\n", check=False)
        silence(names, [machine], False)
    _delete_namespace(names.namespace(machine))


def cut(names: LabNames, machine: Machine, network: Network) -> None:
    """Pull the cable: the machine loses carrier on that interface."""
    _cut_mark(names, machine, network).touch()
    _set_link(names, machine, network, "down")


def heal(names: LabNames, machine: Machine, network: Network) -> None:
    """Put the cable back."""
    _cut_mark(names, machine, network).unlink(missing_ok=True)
    _set_link(names, machine, network, "up")


def is_cut(names: LabNames, machine: Machine, network: Network) -> bool:
    return _cut_mark(names, machine, network).exists()


def silence(names: LabNames, machines: Sequence[Machine], silent: bool) -> None:
    """Drop every frame from and to the machines, at one moment, without their losing carrier.

    The kernel of a frozen machine still answers ARP, ping and SYN, and that of a killed one says FIN or RST
    for its sockets: a machine without power does neither.
    """
    rules = ""
    for machine in machines:
        table = f"silence_{machine.name}"
        rules += f"table netdev {table} {{}}\ndelete table netdev {table}\n"
        if silent:
            ports = ", ".join(f'"{machine.port(network)}"' for network in machine.networks)
            rules += (
                f"table netdev {table} {{\n"
                f" chain in {{ type filter hook ingress devices = {{ {ports} }} priority 0; policy drop; }}\n"
                f" chain out {{ type filter hook egress devices = {{ {ports} }} priority 0; policy drop; }}\n"
                "}\n"
            )
    run("ip", "netns", "exec", names.fabric, "nft", "-f", "-", text=rules)


def exists(namespace: str) -> bool:
    return (_NAMESPACES / namespace).exists()


def _cut_mark(names: LabNames, machine: Machine, network: Network) -> Path:
    return names.machine_directory(machine) / f"cut-{network.name}"


def _set_link(names: LabNames, machine: Machine, network: Network, state: str) -> None:
    """Of a machine that is off, the mark alone decides how its next boot finds the cable."""
    if exists(names.namespace(machine)):
        run("ip", "-n", names.fabric, "link", "set", machine.port(network), state)


def _add_namespace(namespace: str) -> None:
    """A namespace that does not route, whatever it would inherit from the host."""
    run("ip", "netns", "add", namespace)
    forwarding = "echo 0 > /proc/sys/net/ipv4/ip_forward"
    run("ip", "netns", "exec", namespace, "sh", "-c", forwarding)


def _delete_namespace(namespace: str) -> None:
    if exists(namespace):
        run("ip", "netns", "del", namespace)


def _batch(names: LabNames, lines: list[str]) -> None:
    run("ip", "-n", names.fabric, "-batch", "-", text="\n".join(lines) + "\n")
