# SPDX-License-Identifier: Apache-2.0
"""However talkative Ansible is asked to be, it shows no key that the PKI role makes."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.unit.inventory.test_playbook import ANSIBLE
from tests.unit.roles.plugin import ROOT

pytestmark = pytest.mark.skipif(not ANSIBLE.exists(), reason="Ansible is not installed beside this Python")


def test_the_most_talkative_run_shows_no_key(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    play = {
        "hosts": "twins",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "tmr_system": "lab",
            "tmr_pki_dir": str(pki),
            "tmr_vip_addresses": ["10.20.0.100"],
            "tmr_back_address": "10.30.0.21",
            "tmr_server_port": 22350,
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        },
        "tasks": [{"ansible.builtin.import_role": {"name": "tmr_pki", "tasks_from": "authority.yml"}}],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    (tmp_path / "hosts.yml").write_text(
        yaml.safe_dump({"twins": {"hosts": {"tmr1": {"tmr_front_addresses": ["10.20.0.21"]}}}})
    )
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [str(ANSIBLE), "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml"), "-vvv", "--diff"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=200, cwd=tmp_path
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Make the key of the CA" in said
    assert "Make the operator's key" in said
    assert "PRIVATE KEY" not in said
    for name in ("ca.key", "operator.key"):
        path = pki / name
        assert path.stat().st_mode & 0o777 == 0o600
        # The secret number is whole in the first line; those behind it hold the public key, which is said.
        assert path.read_text().splitlines()[1] not in said
