# SPDX-License-Identifier: Apache-2.0
"""The machines of a lab as its inventory describes them, reached by plain ssh and not by Ansible."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import testinfra
from testinfra.host import Host

ROOT = Path(__file__).resolve().parent.parent
LAB = os.environ.get("MOLECULE_LAB", "mol")
SSH_CONFIG = Path(os.environ.get("LAB_SSH_CONFIG") or ROOT / ".lab" / LAB / "ssh_config")


@functools.cache
def inventory() -> dict[str, Any]:
    """What `ansible-inventory --list` says of the lab."""
    command = [
        Path(sys.executable).with_name("ansible-inventory"),
        "-i",
        ROOT / "inventory" / "lab",
        "--list",
    ]
    environment = {**os.environ, "LAB_SSH_CONFIG": str(SSH_CONFIG)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def names(*groups: str) -> list[str]:
    """Hosts of these groups."""
    return [name for group in groups for name in inventory()[group]["hosts"]]


class Machine:
    """One machine: its variables by `[name]`, and `host`, testinfra's handle."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.group = next(group for group in ("upstreams", "twins", "clients") if name in names(group))
        self.host: Host = testinfra.get_host(f"ssh://{name}", ssh_config=str(SSH_CONFIG))

    def __getitem__(self, variable: str) -> Any:
        return inventory()["_meta"]["hostvars"][self.name][variable]

    def run(self, command: str, *arguments: str) -> str:
        """Standard output of a command that must succeed."""
        output: str = self.host.check_output(command, *arguments)
        return output

    def reaches(self, address: str, port: int) -> bool:
        """Whether a TCP connection from this machine can be opened within two seconds."""
        place = f"/dev/tcp/{address}/{port}"
        code: int = self.host.run("timeout 2 bash -c %s", f"exec 3<>{place}").rc
        return code == 0

    @property
    def units(self) -> list[str]:
        """The daemons that run here."""
        return {"upstreams": ["tmr-upstream"], "twins": ["tmr-vip", "tmr-server"], "clients": []}[self.group]


@functools.cache
def machine_named(name: str) -> Machine:
    """The machine of that name; one handle for all tests."""
    return Machine(name)


def from_fabric(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this host as a stranger in both networks."""
    lab = [sys.executable, "-m", "lab", "--name", LAB, "ns-exec", "fabric", "--"]
    return subprocess.run([*lab, *command], cwd=ROOT, capture_output=True, text=True, check=False)


def playbook(*arguments: str) -> str:
    """Run playbooks of the project on the lab, as an operator does."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    ours |= {"ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "LAB_SSH_CONFIG": str(SSH_CONFIG)}
    if "ANSIBLE_HOME" in os.environ:
        ours["ANSIBLE_HOME"] = os.environ["ANSIBLE_HOME"]
    command: list[Any] = [
        Path(sys.executable).with_name("ansible-playbook"),
        "-i",
        ROOT / "inventory/lab",
        *arguments,
    ]
    done = subprocess.run(
        command, cwd=ROOT / "ansible", env=ours, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout
