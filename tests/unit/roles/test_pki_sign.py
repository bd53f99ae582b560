# SPDX-License-Identifier: Apache-2.0
"""Certificates for those who are not in the inventory, signed on the controller; a CA that the site has."""

import base64
import datetime
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from testbed.pki import make_system
from tests.unit.inventory.test_playbook import ANSIBLE, EXAMPLE, play
from tmr.net.certificate_policy import read
from tmr.net.tls import TlsFiles

from .plugin import ROOT, load

signing = load("tmr_pki/library/tmr_pki_sign.py")
problem = load("tmr_pki/filter_plugins/tmr_pki_authority.py").problem

pytestmark = pytest.mark.skipif(not ANSIBLE.exists(), reason="Ansible is not installed beside this Python")


def printed(start: str) -> list[str]:
    """The words of the one command of the how-to that begins so."""
    page = (ROOT / "docs/how-to/certificates.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith(start)]
    return shlex.split(line)


NEW = printed("openssl req -new")
NEW_CA = printed("openssl req -x509")
SIGN = printed("ansible-playbook -i ../inventory/YOURS playbooks/operate/sign_certificate.yml")[3:]
URI = "spiffe://lab/client/cad-07"
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=True, timeout=60, cwd=cwd
    ).stdout


def request(directory: Path, *more: str) -> Path:
    """A request as the how-to makes it."""
    run(*NEW, *more, cwd=directory)
    return directory / "cad-07.csr"


def given_for(directory: Path, **changed: object) -> dict[str, object]:
    """What the module is called with, for a CA in the directory."""
    ca = make_system(directory).authority
    secret = directory / "ca.key"
    secret.write_bytes(
        ca._key.private_bytes(
            signing.serialization.Encoding.PEM,
            signing.serialization.PrivateFormat.PKCS8,
            signing.serialization.NoEncryption(),
        )
    )
    return {
        "request": str(request(directory)),
        "certificate": str(directory / "cad-07.crt"),
        "ca": str(ca.ca),
        "ca_key": str(secret),
        "uri": URI,
        "days": 390,
        "renew_days": 60,
        "revoked": [],
        **changed,
    }


def test_only_the_key_of_a_request_is_taken(tmp_path: Path) -> None:
    given = given_for(tmp_path)
    greedy = "subjectAltName=URI:" + URI + ",DNS:tmr1", "basicConstraints=critical,CA:TRUE"
    request(tmp_path, *(part for extension in greedy for part in ("-addext", extension)))
    given |= {"days": 0.5}  # the test's CA lives for a day
    assert signing.sign(given, NOW, dry=False)
    made = x509.load_pem_x509_certificate((tmp_path / "cad-07.crt").read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == [URI]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert made.not_valid_before_utc == NOW - datetime.timedelta(days=1)
    assert "OK" in run(
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        "sslclient",
        "-CAfile",
        str(given["ca"]),
        tmp_path / "cad-07.crt",
    )
    files = TlsFiles(str(tmp_path / "cad-07.crt"), str(tmp_path / "cad-07.key"), str(given["ca"]))
    assert files.problems() == []


def test_a_good_certificate_stays_and_another_is_made_again(tmp_path: Path) -> None:
    given = given_for(tmp_path, days=0.5, renew_days=0)
    path = tmp_path / "cad-07.crt"
    assert signing.sign(given, NOW, dry=True) and not path.exists()
    assert signing.sign(given, NOW, dry=False)
    made = path.read_bytes()
    assert not signing.sign(given, NOW, dry=False) and path.read_bytes() == made
    serial = f"{x509.load_pem_x509_certificate(made).serial_number:x}"
    assert signing.sign({**given, "renew_days": 1}, NOW, dry=True), "it ends soon"
    assert signing.sign({**given, "revoked": [serial]}, NOW, dry=True), "it is revoked"
    assert signing.sign({**given, "uri": URI + "8"}, NOW, dry=True), "it is of another"
    request(tmp_path)
    assert signing.sign(given, NOW, dry=True), "the key is another one"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["-addext", "subjectAltName=URI:spiffe://lab/operator/cad-07"], "it asks for spiffe://lab/operator"),
        (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"], "not on the curve P-256"),
    ],
)
def test_other_requests_are_refused(tmp_path: Path, more: list[str], said: str) -> None:
    with pytest.raises(signing.BadRequest, match=said):
        signing.public_key(request(tmp_path, *more).read_bytes(), URI)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = request(tmp_path_factory.mktemp("request"))
    return x509.load_pem_x509_csr(path.read_bytes()).public_bytes(signing.serialization.Encoding.DER)


@given(st.data())
def test_a_changed_request_never_gets_another_key_certified(right: bytes, data: st.DataObject) -> None:
    changed = bytearray(right)
    changed[data.draw(st.integers(0, len(right) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    begin, end = (f"-----{word} CERTIFICATE REQUEST-----\n".encode() for word in ("BEGIN", "END"))
    try:
        key = signing.public_key(begin + base64.encodebytes(changed) + end, URI)
    except signing.BadRequest:
        return
    assert key == x509.load_der_x509_csr(right).public_key()


def authority(pki: Path, work: Path, tasks: list[dict[str, object]]) -> subprocess.CompletedProcess[str]:
    """The role's part on the controller, in a directory of its own."""
    variables = {
        "ansible_python_interpreter": sys.executable,
        "tmr_pki_dir": str(pki),
        "tmr_system": "plant",
        "tmr_vip_addresses": ["10.20.0.100"],
    }
    (work / "play.yml").write_text(
        json.dumps(
            [
                {
                    "hosts": "localhost",
                    "connection": "local",
                    "gather_facts": False,
                    "vars": variables,
                    "tasks": tasks,
                }
            ]
        )
    )
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(work / "ansible"),
        "ANSIBLE_REMOTE_TEMP": str(work / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        [str(ANSIBLE), "-i", "localhost,", str(work / "play.yml")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


MAKE: list[dict[str, object]] = [
    {"ansible.builtin.include_role": {"name": "tmr_pki", "tasks_from": "authority.yml"}}
]


def test_a_ca_that_the_site_has_is_taken_and_signs_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the how-to says: ca.crt and ca.key are put there before the first run."""
    inventory = tmp_path / "inventory"
    shutil.copytree(EXAMPLE, inventory)
    pki = inventory / ".secrets" / "pki"
    pki.mkdir(parents=True)
    run(*NEW_CA, cwd=pki)
    before = (pki / "ca.crt").read_bytes()
    done = authority(pki, tmp_path, MAKE)
    assert done.returncode == 0, done.stdout + done.stderr
    again = authority(pki, tmp_path, MAKE)
    assert "changed=0 " in again.stdout, again.stdout
    assert (pki / "ca.crt").read_bytes() == before
    assert (pki / "act_id").read_text().startswith("plant-")
    assert read(pki / "ca.crt", pki / "crl.pem").revoked == frozenset()
    operator = x509.load_pem_x509_certificate((pki / "operator.crt").read_bytes())
    age = datetime.datetime.now(datetime.UTC) - operator.not_valid_before_utc
    assert age > datetime.timedelta(hours=23), "it is backdated"

    request(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))  # as in a shell of that directory
    done = play(inventory, SIGN[0], tmp_path, *SIGN[1:])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Send back" in done.stdout
    verify = ["openssl", "verify", "-x509_strict", "-crl_check"]
    chain = ["-CAfile", str(pki / "ca.crt"), "-CRLfile", str(pki / "crl.pem")]
    assert "OK" in run(*verify, *chain, tmp_path / "cad-07.crt")
    assert len(list((pki / "issued").glob("client-cad-07-*.crt"))) == 1
    done = play(inventory, SIGN[0], tmp_path, *SIGN[1:])
    assert "changed=0 " in done.stdout, "a second time changes nothing"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "Give the file with the request"),
        (["-e", "certify=twin/plant-tmr1"], "as client/NAME or operator/NAME"),
        (["-e", "certify=operator/operator"], "Choose another name"),
        (
            ["-e", "certify=client/cad-07", "-e", '{"tmr_pki_revoked": ["client/cad-07"]}'],
            "Choose another name",
        ),
        (["-e", "certify=client/cad-07"], "run site.yml first"),
    ],
)
def test_what_is_not_signed(tmp_path: Path, more: list[str], said: str) -> None:
    inventory = tmp_path / "inventory"
    shutil.copytree(EXAMPLE, inventory)
    done = play(
        inventory,
        "playbooks/operate/sign_certificate.yml",
        tmp_path,
        "-e",
        f"request={request(tmp_path)}",
        *more,
    )
    assert done.returncode != 0
    assert said in " ".join(done.stdout.split()), done.stdout
    assert "Nothing was signed" in done.stdout
    assert not (tmp_path / "cad-07.crt").exists()


def test_a_ca_without_its_key_is_a_mistake(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    pki.mkdir()
    shutil.copy(make_system(tmp_path).authority.ca, pki / "ca.crt")
    done = authority(pki, tmp_path, MAKE)
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "ca.key is not there; put the CA's key there" in said
    assert "Nothing was changed" in said
    assert [path.name for path in pki.iterdir()] == ["ca.crt"]


@pytest.mark.parametrize(
    "command",
    [
        "true",
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout ca.key -out ca.crt",
    ],
)
def test_a_good_ca_has_no_problem(tmp_path: Path, command: str) -> None:
    run(*NEW_CA, cwd=tmp_path)
    run("sh", "-ec", command, cwd=tmp_path)
    assert problem(str(tmp_path / "ca.crt"), str(tmp_path / "ca.key")) == ""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("rm ca.crt", "ca.crt cannot be read: No such file"),
        ("cp ca.key ca.crt", "ca.crt has no certificate in PEM"),
        ("cat ca.crt >> ca.crt.2; cat ca.crt.2 >> ca.crt", "ca.crt has 2 certificates"),
        ("rm ca.key", "ca.key is not there"),
        ("cp ca.crt ca.key", "ca.key has no private key in PEM"),
        ("openssl ecparam -genkey -noout -name prime256v1 -out ca.key", "ca.key is not the key of the CA"),
        ("openssl pkey -aes256 -passout pass:x -in ca.key -out a; mv a ca.key", "ca.key is encrypted"),
        (
            "openssl req -x509 -newkey ed25519 -nodes -subj /CN=x -keyout ca.key -out ca.crt"
            " -addext keyUsage=critical,keyCertSign,cRLSign",
            "neither an elliptic curve's nor an RSA key",
        ),
        (
            "openssl req -x509 -key ca.key -subj /CN=x -out ca.crt"
            " -addext keyUsage=critical,digitalSignature",
            "may not sign certificates and lists",
        ),
        (
            "openssl req -new -key ca.key -subj /CN=x | openssl x509 -req -signkey ca.key -out ca.crt",
            "may not sign certificates and lists",
        ),
        (
            "openssl req -new -key ca.key -subj /CN=sub > r; mv ca.crt root.crt;"
            " openssl x509 -req -in r -CA root.crt -CAkey ca.key -CAcreateserial -out ca.crt",
            "a root is needed",
        ),
        (
            "openssl req -new -key ca.key -subj /CN=x"
            " | openssl x509 -req -signkey ca.key -days -1 -extfile ext -out ca.crt",
            "ca.crt ended on ",
        ),
    ],
)
def test_a_ca_that_cannot_sign_is_named_with_the_remedy(tmp_path: Path, command: str, said: str) -> None:
    (tmp_path / "ext").write_text("basicConstraints=critical,CA:TRUE\n")
    run(*NEW_CA, cwd=tmp_path)
    run("sh", "-ec", command, cwd=tmp_path)
    found = problem(str(tmp_path / "ca.crt"), str(tmp_path / "ca.key"))
    assert said in found
    assert str(tmp_path) in found
