"""Jinja test `tmr_pki_good`: whether a certificate still serves."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature


def good(pem: str, authority: str, names: Iterable[str], days: int) -> bool:
    """Whether the certificate `pem` was signed by the CA in the file `authority`, carries exactly the
    subject alternative `names` ("URI:…", "DNS:…", "IP:…"), and is valid now and for `days` days more."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        issuer = x509.load_pem_x509_certificate(Path(authority).read_bytes())
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, FileNotFoundError):
        return False
    now = datetime.datetime.now(datetime.UTC)
    wanted = now + datetime.timedelta(days=days)
    in_time = certificate.not_valid_before_utc <= now and wanted < certificate.not_valid_after_utc
    return in_time and _names(certificate) == {_normal(name) for name in names}


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
        return {"tmr_pki_good": good}
