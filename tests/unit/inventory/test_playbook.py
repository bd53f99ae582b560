# SPDX-License-Identifier: Apache-2.0
"""site.yml itself stops at a wrong inventory: with the message, and without a connection."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.unit.roles.plugin import ROOT

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
EXAMPLE = ROOT / "inventory" / "example"

pytestmark = pytest.mark.skipif(not ANSIBLE.exists(), reason="Ansible is not installed beside this Python")


def play(inventory: Path, playbook: str, tmp_path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
        # Whoever connects is found out: there is no such program.
        "ANSIBLE_SSH_EXECUTABLE": "/nonexistent/ssh",
    }
    command = [str(ANSIBLE), "-i", str(inventory), str(ROOT / "ansible" / playbook), *more]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_the_inventories_in_the_repository_are_right(tmp_path: Path) -> None:
    for inventory in (EXAMPLE, ROOT / "inventory" / "lab", ROOT / "inventory" / "network-example"):
        done = play(inventory, "playbooks/deploy/inventory.yml", tmp_path)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("hosts.yml", "    plant-up3:\n", "", "group upstreams has 2 hosts"),
        ("hosts.yml", "address: 192.168.30.12", "address: 192.168.30.11", "192.168.30.11 is given twice"),
        (
            "group_vars/all.yml",
            "192.168.20.100",
            "192.168.40.100",
            "outside the front network 192.168.20.0/24",
        ),
        ("group_vars/all.yml", "tmr_lease_ttl: 2.0", "tmr_lease_ttl: 20", "from 1.5 to 10"),
        ("group_vars/all.yml", "tmr_lease_ttl", "tmr_leese_ttl", "is tmr_lease_ttl meant?"),
        ("group_vars/all.yml", "[192.168.30.0/24, 192.168.99.0/24]", "[]", "nobody could log in any more"),
        ("group_vars/all.yml", "tmr_system:", "ansible_port: 2222\ntmr_system:", "keeps port 22 open"),
    ],
)
def test_site_stops_at_a_mistake(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    inventory = tmp_path / "inventory"
    shutil.copytree(EXAMPLE, inventory)
    text = (inventory / file).read_text()
    assert old in text
    (inventory / file).write_text(text.replace(old, new))
    done = play(inventory, "site.yml", tmp_path)
    assert done.returncode != 0
    assert said in done.stdout
    assert "nothing was changed" in done.stdout
    assert "/nonexistent/ssh" not in done.stdout + done.stderr
    assert "TASK [Look at the machine]" not in done.stdout


def copied(tmp_path: Path, name: str = "inventory") -> Path:
    inventory = tmp_path / name
    shutil.copytree(EXAMPLE, inventory)
    (inventory / "vendors").mkdir()
    return inventory


def key(private: bool) -> bytes:
    made = Ed25519PrivateKey.generate()
    if private:
        return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_vendors_keys_beside_the_inventory_are_no_inventory(tmp_path: Path) -> None:
    inventory = copied(tmp_path)
    (inventory / "vendors" / "6000001.pem").write_bytes(key(private=False))
    done = play(inventory, "playbooks/deploy/inventory.yml", tmp_path)
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout + done.stderr


@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/licences/vendors.yml"])
def test_a_private_key_is_brought_to_no_machine(tmp_path: Path, playbook: str) -> None:
    inventory = copied(tmp_path)
    secret = key(private=True)
    (inventory / "vendors" / "6000001.pem").write_bytes(secret)
    done = play(inventory, playbook, tmp_path)
    assert done.returncode != 0
    assert "6000001.pem holds a private key" in done.stdout
    assert "/nonexistent/ssh" not in done.stdout + done.stderr
    assert secret.split(b"\n")[1].decode() not in done.stdout + done.stderr


def test_two_inventories_do_not_make_two_authorities(tmp_path: Path) -> None:
    inventory, other = copied(tmp_path), tmp_path / "clients"
    other.mkdir()
    (other / "hosts.yml").write_text("clients: {hosts: {plant-app2: {ansible_host: 192.168.20.52}}}\n")
    shutil.copytree(inventory / "group_vars", other / "group_vars")
    done = play(inventory, "site.yml", tmp_path, "-i", str(other))
    assert done.returncode != 0
    assert "there would be 2 certification authorities" in done.stdout
    assert f"{other}/.secrets/pki for plant-app2" in done.stdout
    assert not list(tmp_path.glob("*/.secrets"))
    one = ("-e", f"tmr_pki_dir={tmp_path}/pki", "-i", str(other))
    done = play(inventory, "playbooks/deploy/inventory.yml", tmp_path, *one)
    assert done.returncode == 0, done.stdout


def test_replace_upstream_wants_the_name_of_one(tmp_path: Path) -> None:
    done = play(EXAMPLE, "playbooks/operate/replace_upstream.yml", tmp_path)
    assert done.returncode != 0
    assert '"" is no upstream of the inventory' in " ".join(done.stdout.split()).replace("\\", "")
    assert "/nonexistent/ssh" not in done.stdout + done.stderr


def test_upstreams_are_renewed_last_and_then_the_system_is_seen_to_answer(tmp_path: Path) -> None:
    done = play(EXAMPLE, "site.yml", tmp_path, "--list-tasks")
    assert done.returncode == 0, done.stdout + done.stderr
    plays = [line.split(": ", 1)[1].split("\t")[0] for line in done.stdout.splitlines() if "play #" in line]
    order = [one.split(" (", 1)[-1] for one in plays]
    found = [
        next(at for at, one in enumerate(order) if words in one)
        for words in (
            *("Check the inventory", "Prepare", "Bring the release to twins", "Deploy the twins"),
            *("Bring the release to the upstreams", "Deploy the upstreams"),
            *("See the system answer", "Reach the system"),
        )
    ]
    assert found == sorted(found), order


def test_a_system_is_not_founded_anew_by_accident(tmp_path: Path) -> None:
    for more in ((), ("-e", "give_up=another"), ("-e", "give_up=plant", "--limit", "plant-up1,localhost")):
        done = play(EXAMPLE, "playbooks/operate/found_anew.yml", tmp_path, *more)
        assert done.returncode != 0
        said = " ".join(done.stdout.split())
        assert "Nothing was changed" in said
        assert ("without --limit" if "--limit" in more else "-e give_up=plant") in said
        assert "/nonexistent/ssh" not in done.stdout + done.stderr
