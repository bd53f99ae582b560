# SPDX-License-Identifier: Apache-2.0
"""New rules of the firewall are kept only if the controller came by a new connection: the steps of the role.

The machine is this one. `ssh` is a program of the test that runs what it is told here, and says from which
port it came: a port of its own for each connection, and one for all that share a connection.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .plugin import ROLES, ROOT

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")

pytestmark = pytest.mark.skipif(not ANSIBLE.exists(), reason="Ansible is not installed beside this Python")

SSH = """#!/bin/bash
shared=
for word; do
  # ssh takes the first value that it is given.
  if [[ $word == ControlPath=* && ! $shared ]]; then shared=${word#*=}; fi
done
[[ $1 == -O || " $* " == *" -O "* ]] && exit 0
if [[ $shared == none ]]; then
  [[ -e HERE/cut && -e HERE/tried ]] && { echo "ssh: connect to host up1 port 22: timed out" >&2; exit 255; }
  port=$$
else
  port=shared
fi
SSH_CONNECTION="198.51.100.7 $port 10.30.0.11 22" exec bash -c "${!#}"
"""


def play(tmp_path: Path, connection: str = "ssh", **variables: object) -> subprocess.CompletedProcess[str]:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(SSH.replace("HERE", str(tmp_path)))
    (programs / "try").write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/steps\n[ "$1" = try ] && touch {tmp_path}/tried; exit 0\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    role = {"name": "tmr_firewall", "tasks_from": "trial.yml"}
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        json.dumps(
            [
                {
                    "hosts": "up1",
                    "gather_facts": False,
                    "tasks": [{"ansible.builtin.include_role": role}],
                }
            ]
        )
    )
    more = {
        "ansible_connection": connection,
        "ansible_python_interpreter": sys.executable,
        "ansible_remote_tmp": str(tmp_path / "remote"),
        "tmr_system": "plant",
        "tmr_front_networks": ["10.20.0.0/24"],
        "tmr_back_address": "10.30.0.11",
        **variables,
    }
    # Above the variables of the role: nothing outside this directory is touched.
    extra = {
        "__tmr_firewall_file": str(tmp_path / "tmr.nft"),
        "__tmr_firewall_nft": "/usr/bin/env true",
        "__tmr_firewall_try": [str(programs / "try")],
    }
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(json.dumps({"upstreams": {"hosts": {"up1": more}}}))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ROLES),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(tmp_path / "cp"),
        "ANSIBLE_SSH_EXECUTABLE": str(programs / "ssh"),
        "ANSIBLE_SSH_TRANSFER_METHOD": "piped",
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [str(ANSIBLE), "-i", str(hosts), str(playbook), "-e", json.dumps(extra)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def steps(tmp_path: Path) -> list[str]:
    return (tmp_path / "steps").read_text().splitlines()


@pytest.fixture(autouse=True)
def root_only() -> None:
    if os.geteuid() != 0:
        pytest.skip("the role gives its files to root")


def test_a_new_connection_confirms_the_rules(tmp_path: Path) -> None:
    done = play(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert steps(tmp_path) == ["try 60", "confirm"]
    assert "tcp dport 22351 accept" not in (tmp_path / "tmr.nft.new").read_text(), "there are no twins"


def test_without_a_new_connection_the_rules_are_not_kept(tmp_path: Path) -> None:
    (tmp_path / "cut").touch()
    done = play(tmp_path)
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "up1: with the new rules of the firewall the controller cannot log in" in said
    assert "takes its former rules back within 60 seconds" in said
    assert steps(tmp_path) == ["try 60"]


def test_a_shared_connection_shows_nothing(tmp_path: Path) -> None:
    done = play(tmp_path, ansible_ssh_args="-o ControlMaster=auto -o ControlPath=/tmp/shared")
    assert done.returncode != 0
    assert "did not get a new connection to try them" in " ".join(done.stdout.split())
    assert steps(tmp_path) == ["try 60"]


def test_a_machine_that_is_reached_otherwise_needs_no_proof(tmp_path: Path) -> None:
    done = play(tmp_path, connection="local")
    assert done.returncode == 0, done.stdout + done.stderr
    assert steps(tmp_path) == ["try 60", "confirm"]
