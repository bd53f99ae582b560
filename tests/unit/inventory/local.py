# SPDX-License-Identifier: Apache-2.0
"""Five machines that are all this one: playbooks run against them as a dry run, without a network.

`ip` is a program of the test that shows the addresses which a machine should have. The release counts as
built: an empty archive has its name.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.unit.roles.plugin import ROOT, load

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")

ADDRESSES = {
    "up1": ["10.30.0.11"],
    "up2": ["10.30.0.12"],
    "up3": ["10.30.0.13"],
    "tmr1": ["10.30.0.21", "10.20.0.21"],
    "tmr2": ["10.30.0.22", "10.20.0.22"],
}
COMMON: dict[str, Any] = {
    "ansible_connection": "local",
    "ansible_become": False,
    "ansible_python_interpreter": sys.executable,
    "tmr_system": "plant",
    "tmr_front_networks": ["10.20.0.0/24"],
    "tmr_back_networks": ["10.30.0.0/24"],
    "tmr_vip_addresses": ["10.20.0.100"],
    "tmr_vip_interface": "lo",
    "tmr_packages_needed": {"/bin/sh": "dash"},
}


def inventory(tmp_path: Path, away: tuple[str, ...] = (), **variables: Any) -> Path:
    """An inventory of two twins, three upstreams and a client, with these variables for all. `away`: machines
    that are not reachable."""
    hosts: dict[str, dict[str, Any]] = {name: {"tmr_back_address": own[0]} for name, own in ADDRESSES.items()}
    for name in ("tmr1", "tmr2"):
        hosts[name]["tmr_front_addresses"] = ADDRESSES[name][1:]
    groups = {
        "upstreams": ("up1", "up2", "up3"),
        "twins": ("tmr1", "tmr2"),
    }
    text: dict[str, Any] = {
        group: {"hosts": {name: hosts[name] for name in names}} for group, names in groups.items()
    }
    text["clients"] = {"hosts": {"cad": {}}}
    for members in text.values():
        for name in away:
            if name in members["hosts"]:
                members["hosts"][name]["ansible_connection"] = "ssh"
    cache = tmp_path / "cache"
    text["all"] = {"vars": {**COMMON, "tmr_release_cache": str(cache), **variables}}
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump(text))
    _pretend_built(cache)
    return path


def _pretend_built(cache: Path) -> None:
    cache.mkdir(exist_ok=True)
    release = load("tmr_release/files/build_release.py").release_name(ROOT)
    target = f"3.{sys.version_info.minor}-{platform.machine()}"
    (cache / f"tmr-{release}-{target}.pyz").touch()


def dry_run(
    hosts: Path, playbook: str, *more: str, shown: list[str] | None = None, came: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a playbook with `--check`. `shown`: addresses of every machine, by default those of all; `came`:
    SSH_CONNECTION."""
    tmp_path = hosts.parent
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    every = [address for own in ADDRESSES.values() for address in own]
    lines = [f"2: eth0    inet {address}/24 scope global eth0" for address in shown or every]
    (programs / "ip").write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
    (programs / "ip").chmod(0o755)
    (programs / "ssh").write_text("#!/bin/sh\necho 'ssh: connect: No route to host' >&2\nexit 255\n")
    (programs / "ssh").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "ansible"),
        "ANSIBLE_SSH_EXECUTABLE": str(programs / "ssh"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(tmp_path / "cp"),
        "ANSIBLE_NOCOLOR": "1",
    }
    environment.pop("SSH_CONNECTION", None)
    if came:
        environment["SSH_CONNECTION"] = came
    command = [str(ANSIBLE), "-i", str(hosts), str(ROOT / "ansible" / playbook), "--check", *more]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Its whole output, without line breaks inside messages."""
    return " ".join((done.stdout + done.stderr).split())


def roles_run(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Roles of which a task ran, but for the check of their arguments, which has no tag."""
    heads = [line for line in done.stdout.splitlines() if line.startswith("TASK [tmr_")]
    heads = [line for line in heads if " : Validating arguments against" not in line]
    return {line.removeprefix("TASK [").partition(" :")[0] for line in heads}
