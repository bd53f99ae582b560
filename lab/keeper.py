# SPDX-License-Identifier: Apache-2.0
"""Keeps one machine running: boots it, and boots it again when it reboots, until it is powered off.

    python3 -m lab.keeper STATE_DIRECTORY LAB MACHINE

One such process a running machine, in the machine's own cgroup. Every boot has a fresh network namespace,
fresh cables, and a private mount namespace that holds disk and root: they vanish with the boot.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import disk, fabric
from lab.cgroup import Cgroup
from lab.host import prepare_environment
from lab.names import LabNames
from lab.topology import Machine, machine_named

_REBOOT = 133  # nspawn's exit code under --keep-unit when the machine asked for a reboot
VISITORS = "visitors"
"""Name of the cgroup, below the machine's, of processes that came in from the host."""

_LEADER = "X_NSPAWN_LEADER_PID="


@dataclass(frozen=True)
class BootRecord:
    """State of the current boot of a machine."""

    keeper: int
    supervisor: int
    """pid of systemd-nspawn, in the machine's mount namespace; 0 between two boots"""
    boots: int
    """boots since the last power-on, from 1"""
    leader: int | None = None
    """host's pid of the machine's pid 1, once it said that it is ready"""

    def write(self, path: Path) -> None:
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)))
        new.rename(path)

    @staticmethod
    def read(path: Path) -> BootRecord | None:
        try:
            return BootRecord(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None


def cgroup(names: LabNames, machine: Machine) -> Cgroup:
    """The machine's cgroup. Below it: `keeper`, VISITORS, and `boot-N`, where nspawn makes its own."""
    return Cgroup(f"{names.tag}/{machine.name}")


def _command(names: LabNames, machine: Machine, boot: Cgroup) -> list[str]:
    tree = Path(json.loads(names.description.read_text())["tree"])
    root = str(disk.root(names, machine))
    nspawn = [
        *("systemd-nspawn", "--quiet", "--boot", "--keep-unit", "--register=no", "--notify-ready=yes"),
        *(f"--directory={root}", f"--machine={names.namespace(machine)}", f"--hostname={machine.name}"),
        f"--network-namespace-path=/run/netns/{names.namespace(machine)}",
        *("--capability=CAP_NET_ADMIN,CAP_NET_RAW", "--resolv-conf=off", "--timezone=off"),
        *("--link-journal=no", "--console=pipe"),
    ]
    script = [
        f"echo $$ > {shlex.quote(str(boot.path / 'cgroup.procs'))}",
        "mkdir -p /run/systemd/nspawn",
        "mount -t tmpfs -o mode=755,size=1m lab /run/systemd/nspawn",
        *(shlex.join(command) for command in disk.mount_commands(names, machine, tree)),
        f"exec {shlex.join(nspawn)}",
    ]
    # slave: the unmounting of other machines' namespaces on the host must reach this mount namespace too
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-e", "-c", "\n".join(script)]


def _watch(notify: socket.socket, process: subprocess.Popen[bytes], record: BootRecord, path: Path) -> int:
    """Take nspawn's messages until it ends; its exit code."""
    leader: int | None = None
    ended = os.pidfd_open(process.pid)
    try:
        while True:
            readable, _, _ = select.select([notify.fileno(), ended], [], [])
            if notify.fileno() in readable:
                for line in notify.recv(4096).decode(errors="replace").splitlines():
                    if line.startswith(_LEADER):
                        leader = int(line.removeprefix(_LEADER))
                    elif line == "READY=1":
                        BootRecord(record.keeper, record.supervisor, record.boots, leader).write(path)
            if ended in readable:
                return process.wait()
    finally:
        os.close(ended)


def keep(names: LabNames, machine: Machine) -> int:
    """Boot the machine until it is powered off from inside; nspawn's exit code of the last boot."""
    group = cgroup(names, machine)
    boots = 0
    while True:
        boots += 1
        fabric.plug(names, machine)
        boot = group.child(f"boot-{boots}")
        boot.create()
        address = f"\0{names.tag}/{machine.name}/{boots}"  # abstract: leaves no file behind
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(address)
            environment = {
                "PATH": os.environ["PATH"],
                "NOTIFY_SOCKET": address.replace("\0", "@"),
                "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",  # sysctls of its own network, nothing else
            }
            process = subprocess.Popen(
                _command(names, machine, boot), env=environment, stdin=subprocess.DEVNULL
            )
            record = BootRecord(os.getpid(), process.pid, boots)
            record.write(names.boot_record(machine))
            code = _watch(notify, process, record, names.boot_record(machine))
        BootRecord(os.getpid(), 0, boots).write(names.boot_record(machine))
        group.child(VISITORS).remove()
        boot.remove()
        disk.wait_released(names, machine)
        if code != _REBOOT:
            fabric.unplug(names, machine)
            return code


def main() -> None:
    state, lab, machine = sys.argv[1:4]
    prepare_environment()
    names = LabNames(lab, Path(state))
    # first of all: whoever takes the lab down kills this cgroup, and when it is gone this line fails
    cgroup(names, machine_named(machine)).child("keeper").join(os.getpid())
    sys.exit(keep(names, machine_named(machine)))


if __name__ == "__main__":
    main()
