# SPDX-License-Identifier: Apache-2.0
"""Jinja filters of what is revoked: `tmr_pki_serials`, `tmr_pki_entries`, `tmr_pki_copy`,
`tmr_pki_subject`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from cryptography import x509

_SERIAL = re.compile(r"(?:[0-9A-Fa-f]{2}:?)*[0-9A-Fa-f]{1,2}")
_NAME = re.compile(r"(?:upstream|twin|client|operator)/[A-Za-z0-9][A-Za-z0-9._-]*")


def serials(wanted: Iterable[object], issued: str) -> list[str]:
    """Serial numbers, as `01:2F`, of what the inventory's `tmr_pki_revoked` lists.

    An entry is a serial number in hexadecimal, or `ROLE/NAME`: every certificate of that name of which a copy
    is in the directory `issued`.
    """
    known = list(_copies(Path(issued)))
    found: set[int] = set()
    for entry in wanted:
        if isinstance(entry, str) and _NAME.fullmatch(entry):
            named = {certificate.serial_number for name, certificate in known if name == entry}
            if not named:
                raise AnsibleFilterError(
                    f"tmr_pki_revoked: no certificate of {entry} is in {issued}; correct the name, or give"
                    " the serial number of the certificate"
                )
            found |= named
        elif isinstance(entry, str) and _SERIAL.fullmatch(entry):
            found.add(int(entry.replace(":", ""), 16))
        else:
            raise AnsibleFilterError(
                f"tmr_pki_revoked: {entry!r} is neither ROLE/NAME nor a serial number in hexadecimal; write"
                " it in quotation marks, for example 'client/cad-07' or '4F:2A:…'"
            )
    return [_octets(serial) for serial in sorted(found)]


def entries(revoked: Iterable[str]) -> list[dict[str, str]]:
    """What `community.crypto.x509_crl` takes: the list is made now, so that they are revoked now."""
    return [{"serial_number": serial, "revocation_date": "+0s"} for serial in revoked]


def copy(pem: str) -> str:
    """File name of a certificate's copy: ROLE-NAME-SERIAL.crt."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    serial = _octets(certificate.serial_number).replace(":", "")
    return f"{_identity(certificate).replace('/', '-')}-{serial}.crt"


def subject(pem: str) -> list[dict[str, str]]:
    """Subject of a CA as `community.crypto.x509_crl` takes an issuer: its parts, in their order."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return [{part.oid.dotted_string: str(part.value)} for part in certificate.subject]


def _copies(issued: Path) -> Iterator[tuple[str, x509.Certificate]]:
    for path in sorted(issued.glob("*.crt")):
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
        except ValueError as error:
            raise AnsibleFilterError(f"{path} is no certificate ({error}); remove it") from None
        yield _identity(certificate), certificate


def _identity(certificate: x509.Certificate) -> str:
    """ROLE/NAME of its SPIFFE identity; empty without one."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uris[0].removeprefix("spiffe://").partition("/")[2] if len(uris) == 1 else ""


def _octets(serial: int) -> str:
    return serial.to_bytes(max(1, (serial.bit_length() + 7) // 8), "big").hex(":").upper()


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions of the filters."""
        return {
            "tmr_pki_serials": serials,
            "tmr_pki_entries": entries,
            "tmr_pki_copy": copy,
            "tmr_pki_subject": subject,
        }
