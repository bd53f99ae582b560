# SPDX-License-Identifier: Apache-2.0
"""The roles with the example of a network licence server: its files, rendered by Ansible itself."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tmr.runtime.config import load
from tmr.upstream.config import UpstreamConfig

from .plugin import ROLES, ROOT

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")

pytestmark = pytest.mark.skipif(not ANSIBLE.exists(), reason="Ansible is not installed beside this Python")

TEMPLATES = {
    "upstream.toml": "tmr_upstream/templates/upstream.toml.j2",
    "upstream.service": "tmr_upstream/templates/tmr-upstream.service.j2",
    "tmr.nft": "tmr_firewall/templates/tmr.nft.j2",
    "client.toml": "tmr_client/templates/client.toml.j2",
    "operator.toml": "tmr_pki/templates/operator.toml.j2",
}
VARIABLES = (
    "tmr_upstream/defaults",
    "tmr_firewall/defaults",
    "tmr_firewall/vars",
    "tmr_client/defaults",
    "tmr_client/vars",
    "tmr_pki/defaults",
    "tmr_pki/vars",
    "tmr_accounts/defaults",
    "tmr_release/defaults",
)
SHOWN = ("tmr_pki_role", "__tmr_pki_names", "tmr_accounts_users", "tmr_release_commands")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for each machine."""
    into = tmp_path_factory.mktemp("rendered")
    copies = [
        {
            "ansible.builtin.template": {
                "src": str(ROLES / source),
                "dest": f"{into}/{{{{ inventory_hostname }}}}-{name}",
                "mode": "0644",
            },
            "when": f"('network_servers' in group_names) == {name != 'client.toml'}",
        }
        for name, source in TEMPLATES.items()
    ]
    facts = {
        "ansible.builtin.copy": {
            "content": "{{ {" + ", ".join(f"{name!r}: {name}" for name in SHOWN) + "} | to_json }}",
            "dest": f"{into}/{{{{ inventory_hostname }}}}-facts.json",
            "mode": "0644",
        }
    }
    playbook = into / "render.yml"
    play = {
        "hosts": "all",
        "gather_facts": False,
        "connection": "local",
        "vars_files": [str(ROLES / f"{name}/main.yml") for name in VARIABLES],
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [*copies, facts],
    }
    playbook.write_text(json.dumps([play]))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(into / "ansible"),
        "ANSIBLE_REMOTE_TEMP": str(into / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [str(ANSIBLE), "-i", str(ROOT / "inventory" / "network-example"), str(playbook)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return into


def facts(rendered: Path, host: str) -> dict[str, Any]:
    return dict(json.loads((rendered / f"{host}-facts.json").read_text()))


def test_the_upstream_is_configured_as_a_network_licence_server(rendered: Path) -> None:
    config = load(rendered / "plant-lic1-upstream.toml", UpstreamConfig)
    assert (config.mode, config.addresses, config.listen_port) == ("network", ("192.168.20.11",), 22350)
    assert "Description=Network licence server" in (rendered / "plant-lic1-upstream.service").read_text()


def test_its_certificate_names_its_front_address_in_the_role_upstream(rendered: Path) -> None:
    found = facts(rendered, "plant-lic1")
    assert found["tmr_pki_role"] == "upstream"
    assert found["__tmr_pki_names"] == [
        "URI:spiffe://plant-network/upstream/plant-lic1",
        "DNS:plant-lic1",
        "IP:192.168.20.11",
    ]
    assert found["tmr_accounts_users"] == ["tmr-upstream"]
    assert found["tmr_release_commands"] == ["tmr", "tmr-upstream"]
    assert facts(rendered, "plant-app1")["tmr_pki_role"] == "client"


def test_the_firewall_lets_clients_to_it(rendered: Path) -> None:
    rules = (rendered / "plant-lic1-tmr.nft").read_text()
    assert "ip saddr { 192.168.20.0/24 } tcp dport 22350 accept" in rules
    assert "22351" not in rules


def test_the_firewall_lets_monitoring_to_an_upstream(tmp_path: Path) -> None:
    """Beside the twins, and nobody else."""
    variables = {"tmr_firewall_monitoring_networks": ["192.168.30.77"], "ansible_connection": "local"}
    play = {
        "hosts": "plant-up1",
        "gather_facts": False,
        "vars_files": [str(ROLES / f"tmr_firewall/{part}/main.yml") for part in ("defaults", "vars")],
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [
            {
                "ansible.builtin.template": {
                    "src": str(ROLES / TEMPLATES["tmr.nft"]),
                    "dest": f"{tmp_path}/tmr.nft",
                    "mode": "0644",
                }
            }
        ],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "ansible"),
    }
    inventory = str(ROOT / "inventory" / "example")
    command = [str(ANSIBLE), "-i", inventory, str(tmp_path / "play.yml"), "-e", json.dumps(variables)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = (tmp_path / "tmr.nft").read_text()
    assert "ip saddr { 192.168.30.21, 192.168.30.22, 192.168.30.77 } tcp dport 22351 accept" in rules


@pytest.mark.parametrize("file", ["plant-app1-client.toml", "plant-lic1-operator.toml"])
def test_clients_and_operators_ask_it(rendered: Path, file: str) -> None:
    config = tomllib.loads((rendered / file).read_text())
    assert (config["servers"], config["twins"], config["port"]) == (["192.168.20.11"], [], 22350)
