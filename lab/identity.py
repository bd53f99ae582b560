# SPDX-License-Identifier: Apache-2.0
"""The identity of a machine: name, addresses, keys; written to its disk before the first boot."""

from __future__ import annotations

import os
from pathlib import Path

from lab.command import run
from lab.names import LabNames
from lab.topology import Machine, hosts_file


def write(names: LabNames, machine: Machine, upper: Path) -> None:
    """Write the identity into `upper`, the machine's own layer over the base tree, and its host key
    where the lab's ssh looks for it."""
    _file(upper / "etc/hostname", f"{machine.name}\n")
    _file(upper / "etc/machine-id", f"{os.urandom(16).hex()}\n", 0o444)
    _file(upper / "etc/hosts", hosts_file(machine))
    for index, network in enumerate(machine.networks):
        _file(
            upper / f"etc/systemd/network/10-eth{index}.network",
            f"# {network.name} LAN\n"
            f"[Match]\nName=eth{index}\n\n"
            f"[Network]\nAddress={network.ipv4(machine.number)}/24\nAddress={network.ipv6(machine.number)}/64\n"
            "LinkLocalAddressing=ipv6\nIPv6AcceptRA=no\nIPv6DuplicateAddressDetection=0\n"
            "ConfigureWithoutCarrier=yes\n",
        )
    authorized = upper / "root/.ssh/authorized_keys"
    _file(authorized, (names.directory / "id_ed25519.pub").read_text(), 0o600)
    authorized.parent.chmod(0o700)
    authorized.parent.parent.chmod(0o700)

    host_key = upper / "etc/ssh/ssh_host_ed25519_key"
    host_key.parent.mkdir()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", machine.name, "-f", host_key)
    known_as = [machine.name, *(network.ipv4(machine.number) for network in machine.networks)]
    kind, key, _ = host_key.with_suffix(".pub").read_text().split()
    _file(names.known_hosts(machine), f"{','.join(known_as)} {kind} {key}\n")


def _file(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
