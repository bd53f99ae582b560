# SPDX-License-Identifier: Apache-2.0
"""The check of the files beside an inventory: vendors' keys, and the CA."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.unit.roles.plugin import load

plugin = load("tmr_inventory/filter_plugins/tmr_inventory_files.py")

GROUPS = {"upstreams": ["up1", "up2"], "clients": ["cad"]}


def check(tmp_path: Path, **alone: dict[str, str]) -> list[str]:
    hosts = [host for members in GROUPS.values() for host in members]
    found: list[str] = plugin.check(
        {host: {"inventory_dir": str(tmp_path), **alone.get(host, {})} for host in hosts}, GROUPS
    )
    return found


KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))  # the same in each process: names of tests have it
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_new_inventory_has_no_files(tmp_path: Path) -> None:
    assert check(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("6000001.pem", PUBLIC, ""),
        ("6000001.key", PRIVATE, ""),
        ("6000001.pem", PRIVATE, "holds a private key"),
        ("6000001.pem", PUBLIC + PRIVATE, "holds a private key"),
        ("6000001.pem", b"", "is no public key in PEM"),
        ("6000001.pem", PUBLIC[:60], "is no public key in PEM"),
        ("acme.pem", PUBLIC, "name it by the vendor's Firm Code"),
        ("acme.pem", PRIVATE, "holds a private key"),
    ],
)
def test_vendors_keys_are_public_keys(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / "vendors").mkdir()
    (tmp_path / "vendors" / name).write_bytes(content)
    found = check(tmp_path)
    assert len(found) == bool(said)
    assert all(said in sentence and f"{tmp_path}/vendors/{name}" in sentence for sentence in found)


def test_the_directory_of_a_client_alone_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "1.pem").write_bytes(PRIVATE)
    (mistake,) = check(tmp_path / "inventory", cad={"tmr_client_vendors": str(tmp_path)})
    assert "1.pem holds a private key" in mistake


@pytest.mark.parametrize("name", ["ca.key", "operator.key", "act_id"])
def test_a_file_encrypted_by_ansible_vault_is_named(tmp_path: Path, name: str) -> None:
    pki = tmp_path / ".secrets" / "pki"
    pki.mkdir(parents=True)
    (pki / name).write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    (mistake,) = check(tmp_path)
    assert f"{pki}/{name} is encrypted by ansible-vault" in mistake
    assert "ansible-vault decrypt" in mistake


def test_one_authority_for_all_machines(tmp_path: Path) -> None:
    other = {"inventory_dir": "/elsewhere"}
    (mistake,) = check(tmp_path, cad=other)
    assert "2 certification authorities" in mistake
    assert f"{tmp_path}/.secrets/pki for up1, up2; /elsewhere/.secrets/pki for cad" in mistake
    same = {"tmr_pki_dir": f"{tmp_path}/.secrets/pki"}
    assert check(tmp_path, cad={**other, **same}) == []
