# SPDX-License-Identifier: Apache-2.0
"""Jinja tests `tmr_pki_good`, `tmr_pki_listed`, `tmr_pki_list_good`: what still serves, what is revoked."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature


def good(
    pem: str, authority: str, names: Iterable[str], days: int | str, revoked: Iterable[str] = ()
) -> bool:
    """Whether the certificate `pem` was signed by the CA in the file `authority`, carries exactly the
    subject alternative `names` ("URI:…", "DNS:…", "IP:…"), is valid now and for `days` days more, and has
    none of the serial numbers `revoked` ("01:2F")."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        issuer = x509.load_pem_x509_certificate(Path(authority).read_bytes())
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, FileNotFoundError):
        return False
    now = datetime.datetime.now(datetime.UTC)
    wanted = now + datetime.timedelta(days=int(days))  # `-e tmr_pki_renew_days=90` gives text
    if listed(pem, revoked):
        return False
    in_time = certificate.not_valid_before_utc <= now and wanted < certificate.not_valid_after_utc
    return in_time and _names(certificate) == {_normal(name) for name in names}


def listed(pem: str, revoked: Iterable[str]) -> bool:
    """Whether the certificate `pem` has one of the serial numbers `revoked`."""
    try:
        return x509.load_pem_x509_certificate(pem.encode()).serial_number in _numbers(revoked)
    except ValueError:
        return False


def list_good(pem: str, authority: str, revoked: Iterable[str], days: int) -> bool:
    """Whether the revocation list `pem` was signed by the CA in the file `authority`, lists exactly the
    serial numbers `revoked`, and lasts as long as the CA does, or for `days` days."""
    try:
        issuer = x509.load_pem_x509_certificate(Path(authority).read_bytes())
        crl = x509.load_pem_x509_crl(pem.encode())
        signed = crl.issuer == issuer.subject and crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (ValueError, TypeError, FileNotFoundError):
        return False
    if not signed or {entry.serial_number for entry in crl} != _numbers(revoked):
        return False
    end, needed = crl.next_update_utc, datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    return end is None or end > min(issuer.not_valid_after_utc, needed)


def _numbers(serials: Iterable[str]) -> set[int]:
    return {int(serial.replace(":", ""), 16) for serial in serials}


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {
        *(f"URI:{uri}" for uri in extension.get_values_for_type(x509.UniformResourceIdentifier)),
        *(f"DNS:{name}" for name in extension.get_values_for_type(x509.DNSName)),
        *(f"IP:{address}" for address in extension.get_values_for_type(x509.IPAddress)),
    }


def _normal(name: str) -> str:
    kind, _, value = name.partition(":")
    return f"IP:{ip_address(value)}" if kind == "IP" else name


class TestModule:
    """What Ansible looks for."""

    def tests(self) -> dict[str, Callable[..., bool]]:
        """Names and functions of the tests."""
        return {"tmr_pki_good": good, "tmr_pki_listed": listed, "tmr_pki_list_good": list_good}
