# SPDX-License-Identifier: Apache-2.0
"""ssh to the machines: the configuration that people, Ansible and testinfra share."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from lab.command import run
from lab.names import LabNames
from lab.topology import MACHINES, Machine


def make_key(names: LabNames) -> None:
    """The key pair that opens every machine of this lab, and only of this lab."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", names.tag, "-f", names.directory / "id_ed25519")


def write_config(names: LabNames) -> None:
    """Write ssh_config. A host's name is the machine's; nothing of the user's own configuration is read."""
    python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
    dial = Path(__file__).with_name("dial.py")
    known_hosts = " ".join(str(names.known_hosts(machine)) for machine in MACHINES.values())
    blocks = [f"Host {machine.name}\n  HostName {machine.address}\n" for machine in MACHINES.values()]
    blocks.append(
        "Host *\n"
        "  User root\n"
        f"  IdentityFile {names.directory / 'id_ed25519'}\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {known_hosts}\n"
        "  GlobalKnownHostsFile none\n"
        "  StrictHostKeyChecking yes\n"
        f"  ProxyCommand {python} -IS {dial} {names.fabric} %h %p\n"
        "  ProxyUseFdpass yes\n"
        "  ServerAliveInterval 5\n"
        "  ServerAliveCountMax 6\n"
        "  ControlMaster auto\n"
        "  ControlPersist 120s\n"
        f"  ControlPath {names.sockets}/%n-%p-%r\n"
    )
    names.sockets.mkdir(mode=0o700, exist_ok=True)
    names.ssh_config.write_text("\n".join(blocks))


def hang_up(names: LabNames, machine: Machine | None = None) -> None:
    """End kept connections to `machine`, or to all: the other side of them is gone."""
    pattern = f"{machine.name}-*" if machine else "*"
    for socket in names.sockets.glob(pattern):
        run("ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "any", check=False)
        socket.unlink(missing_ok=True)


def forget(names: LabNames) -> None:
    """End every kept connection, and remove the directory of their sockets."""
    hang_up(names)
    shutil.rmtree(names.sockets, ignore_errors=True)
