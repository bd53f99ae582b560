# SPDX-License-Identifier: Apache-2.0
"""The revocation list, made by Ansible itself from the inventory, and read by OpenSSL."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from testbed.pki import System, make_system
from tmr.net.certificate_policy import read

from .plugin import ROOT, load

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")

pytestmark = pytest.mark.skipif(not ANSIBLE.exists(), reason="Ansible is not installed beside this Python")

WEEK = 7 * 86_400.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"), clients=("alice", "bob"))


@pytest.fixture
def issued(system: System, tmp_path: Path) -> Path:
    """Copies of what was signed, as the role keeps them; alice was given a second certificate."""
    plugin = load("tmr_pki/filter_plugins/tmr_pki_revoked.py")
    second = system.authority.issue("client", "alice", stem="second")
    for files in (system.client("alice"), second, system.client("bob"), system.twin("tmr1")):
        pem = Path(files.certificate).read_text()
        (tmp_path / plugin.copy(pem)).write_text(pem)
    return tmp_path


def serial(path: str) -> str:
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-in", path], capture_output=True, text=True, check=True
    )
    return done.stdout.strip().partition("=")[2]


def test_names_and_serial_numbers_are_found(system: System, issued: Path) -> None:
    serials = load("tmr_pki/filter_plugins/tmr_pki_revoked.py").serials
    first, bob = (serial(system.client(name).certificate) for name in ("alice", "bob"))
    alice = {path.stem.rpartition("-")[2] for path in issued.glob("client-alice-*.crt")}
    assert len(alice) == 2
    assert first in {one.zfill(len(first)) for one in alice}

    def plain(*entries: object) -> set[int]:
        return {int(one.replace(":", ""), 16) for one in serials(entries, str(issued))}

    assert plain("client/alice") == {int(one, 16) for one in alice}
    assert plain(bob) == plain(bob.lower()) == plain("client/bob") == {int(bob, 16)}
    pairs = ":".join(bob[number : number + 2] for number in range(0, len(bob), 2))
    assert plain(pairs, "client/alice") == {int(bob, 16), *(int(one, 16) for one in alice)}
    assert plain() == set()


@pytest.mark.parametrize("entry", ["client/eve", "king/alice", "client/", "alice", "", "0x12", 12, None])
def test_what_names_no_certificate_is_a_mistake(issued: Path, entry: object) -> None:
    serials = load("tmr_pki/filter_plugins/tmr_pki_revoked.py").serials
    with pytest.raises(Exception, match="tmr_pki_revoked: "):
        serials([entry], str(issued))


def test_a_revoked_certificate_is_not_good(system: System) -> None:
    plugin = load("tmr_pki/test_plugins/tmr_pki.py")
    files = system.client("alice")
    pem, names = Path(files.certificate).read_text(), ["URI:spiffe://lab/client/alice"]
    revoked = [":".join([serial(files.certificate)])]
    assert plugin.good(pem, files.ca, names, 0)
    assert not plugin.good(pem, files.ca, names, 0, revoked)
    assert plugin.listed(pem, revoked)
    assert not plugin.listed(Path(system.client("bob").certificate).read_text(), revoked)
    assert not plugin.listed("", revoked)


def test_when_a_list_is_made_again(system: System, tmp_path: Path) -> None:
    good = load("tmr_pki/test_plugins/tmr_pki.py").list_good
    ca, alice = system.client("alice").ca, system.client("alice")
    revoked = [serial(alice.certificate)]
    made = system.authority.crl(alice, stem="made", valid=(-60, WEEK)).read_text()
    assert good(made, ca, revoked, 5)
    assert good(made, ca, revoked, 365), "it does not end before the CA"
    assert not good(made, ca, [], 5), "less is revoked now"
    assert not good(made, ca, [*revoked, "01:02"], 5), "more is revoked now"
    assert not good(system.authority.crl(alice, stem="short", valid=(-60, 3600)).read_text(), ca, revoked, 5)
    other = make_system(tmp_path, "lab")
    assert not good(made, other.client("alice").ca, revoked, 5), "the CA is another one"
    assert not good("", ca, revoked, 5)


def test_the_role_makes_a_list_that_openssl_and_the_daemons_take(tmp_path: Path) -> None:
    """On the controller: no entry at first, then the operator's certificate, which gets a new key."""
    pki = tmp_path / "pki"
    check = ["openssl", "verify", "-crl_check", "-CAfile", f"{pki}/ca.crt", "-CRLfile"]

    def step(name: str, revoked: str) -> list[dict[str, object]]:
        keep = f"cp {pki}/crl.pem {tmp_path}/{name}.pem; cp {pki}/operator.crt {tmp_path}/{name}.crt"
        role = {"name": "tmr_pki", "tasks_from": "authority.yml"}
        return [
            {"ansible.builtin.include_role": role, "vars": {"tmr_pki_revoked": f"{{{{ {revoked} }}}}"}},
            {"ansible.builtin.shell": keep},
        ]

    old = f"[lookup('ansible.builtin.pipe', 'openssl x509 -noout -serial -in {tmp_path}/none.crt')[7:]]"
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "ansible_python_interpreter": sys.executable,
            "tmr_pki_dir": str(pki),
            "tmr_system": "lab",
            "tmr_vip_addresses": ["10.20.0.100"],
        },
        "tasks": [*step("none", "[]"), *step("same", "[]"), *step("one", old)],
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([play]))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [str(ANSIBLE), "-i", "localhost,", str(playbook)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "none.pem").read_bytes() == (tmp_path / "same.pem").read_bytes(), "nothing had changed"
    for name, certificate, good in (("none", "none", True), ("one", "none", False), ("one", "one", True)):
        asked = [*check, f"{tmp_path}/{name}.pem", f"{tmp_path}/{certificate}.crt"]
        assert (subprocess.run(asked, capture_output=True, check=False).returncode == 0) is good
    former, new = (
        x509.load_pem_x509_certificate((tmp_path / name).read_bytes()) for name in ("none.crt", "one.crt")
    )
    assert former.public_key() != new.public_key(), "a key that was lost is not certified again"
    assert read(pki / "ca.crt", pki / "crl.pem").revoked == {former.serial_number}
    assert len(list((pki / "issued").glob("operator-operator-*.crt"))) == 2
