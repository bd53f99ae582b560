# SPDX-License-Identifier: Apache-2.0
"""Certificates that are good enough to stay."""

import datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .plugin import load

good = load("tmr_pki/test_plugins/tmr_pki.py").good

URI = "spiffe://lab/twin/tmr1"
NAMES = [f"URI:{URI}", "DNS:tmr1", "IP:10.20.0.21", "IP:fd00:20::21"]


class Authority:
    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key.public_key(), 3650, None)

    def issue(self, days: int) -> str:
        names = x509.SubjectAlternativeName(
            [
                x509.UniformResourceIdentifier(URI),
                x509.DNSName("tmr1"),
                x509.IPAddress(ip_address("10.20.0.21")),
                x509.IPAddress(ip_address("fd00:20::21")),
            ]
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tmr1")])
        return self._pem(
            self._sign(subject, ec.generate_private_key(ec.SECP256R1()).public_key(), days, names)
        )

    def save(self, path: Path) -> str:
        path.write_text(self._pem(self.certificate))
        return str(path)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        days: int,
        names: x509.SubjectAlternativeName | None,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(days=days))
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    @staticmethod
    def _pem(certificate: x509.Certificate) -> str:
        return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def authority() -> Authority:
    return Authority("TMR lab CA")


@pytest.fixture
def file(authority: Authority, tmp_path: Path) -> str:
    return authority.save(tmp_path / "ca.crt")


def test_a_fresh_certificate_stays(authority: Authority, file: str) -> None:
    assert good(authority.issue(397), file, NAMES, 60)


def test_names_are_compared_as_a_set_and_addresses_by_value(authority: Authority, file: str) -> None:
    names = [*NAMES[::-1][1:], "IP:fd00:20:0:0::21"]
    assert good(authority.issue(397), file, names, 60)


def test_one_that_ends_soon_is_renewed(authority: Authority, file: str) -> None:
    assert not good(authority.issue(59), file, NAMES, 60)


@pytest.mark.parametrize("names", [NAMES[:-1], [*NAMES, "IP:10.20.0.100"], [f"{NAMES[0]}x", *NAMES[1:]]])
def test_other_names_need_another_certificate(authority: Authority, file: str, names: list[str]) -> None:
    assert not good(authority.issue(397), file, names, 60)


def test_a_certificate_of_another_ca_is_replaced(authority: Authority, file: str) -> None:
    assert not good(Authority("TMR lab CA").issue(397), file, NAMES, 60)


@pytest.mark.parametrize("text", ["", "no certificate"])
def test_what_is_no_certificate_is_replaced(file: str, text: str) -> None:
    assert not good(text, file, NAMES, 60)
