# SPDX-License-Identifier: Apache-2.0
"""Faults in the two LANs: frames that pass in one direction only, and a stranger with the virtual address."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import IPv4Address

from lab.command import run
from lab.names import LabNames
from lab.topology import BACK, FABRIC_NUMBER, FRONT, MACHINES, Machine
from testbed.operator import enter
from tmr.vip.frames import ETH_P_ARP, gratuitous_arp

_TABLE = "chaos_one_way"
_CLAIM_EVERY_S = 0.3
_QUEUE = "400ms"
"""A frame that would wait for longer is lost."""


def one_way(names: LabNames, target: Machine, others: Sequence[Machine], how: str) -> None:
    """`deaf`: `target` hears nothing of the others on the back LAN; `mute`: they hear nothing of it.

    Unicast frames only: what ARP asks goes everywhere, and nobody answers.
    """
    chains = []
    for other in others:
        source, destination = (other, target) if how == "deaf" else (target, other)
        chains.append(
            f"chain {source.name}_{destination.name} {{ type filter hook ingress "
            f'device "{source.port(BACK)}" priority 1; '
            f"ether daddr {BACK.mac(destination.number)} drop; }}"
        )
    _replace(names, f"table netdev {_TABLE} {{\n{chr(10).join(chains)}\n}}\n")


def lossy(names: LabNames, target: Machine, percent: int) -> None:
    """Lose so many of a hundred frames that the machine sends and receives on the back LAN, by chance."""
    others = [one for one in MACHINES.values() if BACK in one.networks and one.number != target.number]
    chains = [_losing(target, "", percent)]
    chains += [_losing(one, f"ether daddr {BACK.mac(target.number)} ", percent) for one in others]
    _replace(names, f"table netdev {_TABLE} {{\n{chr(10).join(chains)}\n}}\n")


def _losing(source: Machine, which: str, percent: int) -> str:
    return (
        f"chain {source.name} {{ type filter hook ingress "
        f'device "{source.port(BACK)}" priority 1; {which}numgen random mod 100 < {percent} drop; }}'
    )


def forward(names: LabNames, target: Machine, *, works: bool) -> None:
    """Let the front LAN's bridge pass frames of this machine's port, or none."""
    state = "3" if works else "0"  # forwarding or disabled, as of the spanning tree protocol
    run(
        "bridge",
        "-n",
        names.fabric,
        "link",
        "set",
        "dev",
        target.port(FRONT),
        "state",
        state,
        check=not works,
    )


def slow(names: LabNames, machine: Machine, rate: str) -> None:
    """Let the machine's back cable carry `rate` at most, in each direction: what does not fit waits.

    A queue, for this kernel may have no netem: frames are late by their own number and size.
    """
    for namespace, port in _ends(names, machine):
        shape = ("root", "tbf", "rate", rate, "burst", "3200", "latency", _QUEUE)
        run("tc", "-n", namespace, "qdisc", "replace", "dev", port, *shape)


def quick(names: LabNames, machine: Machine) -> None:
    """Let the machine's back cable carry everything at once, as it did."""
    for namespace, port in _ends(names, machine):
        run("tc", "-n", namespace, "qdisc", "del", "dev", port, "root", check=False)


def _ends(names: LabNames, machine: Machine) -> list[tuple[str, str]]:
    inside = f"eth{machine.networks.index(BACK)}"
    return [(names.fabric, machine.port(BACK)), (names.namespace(machine), inside)]


def both_ways(names: LabNames) -> None:
    """Everybody hears everybody again."""
    _replace(names, "")


def _replace(names: LabNames, table: str) -> None:
    fresh = f"table netdev {_TABLE} {{}}\ndelete table netdev {_TABLE}\n{table}"
    run("ip", "netns", "exec", names.fabric, "nft", "-f", "-", text=fresh)


@contextmanager
def thief(names: LabNames, address: IPv4Address) -> Iterator[None]:
    """A foreign host in the front LAN has the address, says so again and again, and answers for it.

    It is the fabric itself: it vanishes with the lab, whatever becomes of this process.
    """
    mac = bytes.fromhex(FRONT.mac(FABRIC_NUMBER).replace(":", ""))
    over = threading.Event()

    def claim() -> None:
        enter(names.fabric)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as link:
            link.bind((FRONT.name, ETH_P_ARP))
            while not over.wait(_CLAIM_EVERY_S):
                for frame in gratuitous_arp(address, mac):
                    link.send(frame)

    run("ip", "-n", names.fabric, "address", "add", f"{address}/32", "dev", FRONT.name)
    with ThreadPoolExecutor(1) as pool:
        claiming = pool.submit(claim)
        try:
            yield
        finally:
            over.set()
            no_thief(names, address)
    claiming.result()


def no_thief(names: LabNames, address: IPv4Address) -> None:
    """The foreign host has the address no more, if it had it."""
    run("ip", "-n", names.fabric, "address", "del", f"{address}/32", "dev", FRONT.name, check=False)
