# SPDX-License-Identifier: Apache-2.0
"""The certificate policy: none is admitted that is on the CA's revocation list, or has ended."""

import datetime
import re
import time
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from tmr.net.certificate_expiry import Validity

_CRL: Final = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


class BadList(ValueError):
    """The revocation list cannot be used; the text says why and what to do."""


class CertificatePolicy(msgspec.Struct, frozen=True):
    """Policy that counts now. `ca`: the bytes of the CA's file.

    `lists`: when the revocation lists are valid.
    """

    ca: bytes
    revoked: frozenset[int] = frozenset()
    lists: tuple[Validity, ...] = ()

    def objection(self, serial: int, not_after: float, now: float) -> str:
        """Reason to reject a certificate that was admitted before; empty: none. Unix times."""
        if serial in self.revoked:
            return "certificate revoked"
        return "certificate has expired" if now > not_after else ""


def read(ca: Path, crl: Path | None, now: float | None = None) -> CertificatePolicy:
    """The CA and its revocation lists (PEM, one for each CA in `ca`). Raises OSError, BadList.

    OpenSSL refuses all peers for a list that is not the CA's or not of this time: it must not get that far.
    """
    issuers = ca.read_bytes()
    if crl is None:
        return CertificatePolicy(issuers)
    try:
        lists = [x509.load_pem_x509_crl(block) for block in _CRL.findall(crl.read_bytes())]
        authorities = x509.load_pem_x509_certificates(issuers)
    except ValueError as error:
        raise BadList(
            f"tls.crl = {str(crl)!r} is no revocation list in PEM ({error}); make it again"
        ) from None
    moment = datetime.datetime.fromtimestamp(time.time() if now is None else now, datetime.UTC)
    revoked = set[int]()
    valid = []
    for authority in authorities:
        found = [one for one in lists if _is_of(one, authority)]
        if not found:
            raise BadList(
                f"tls.crl = {str(crl)!r} has no list that the CA {authority.subject.rfc4514_string()!r}"
                " signed; let the role tmr_pki bring ca.crt and crl.pem together"
            )
        for one in found:
            if one.last_update_utc > moment:
                raise BadList(f"tls.crl: the list begins at {one.last_update_utc} only; check the clocks")
            end = one.next_update_utc
            if end is not None and end <= moment:
                raise BadList(f"tls.crl: the list ended at {end}; make it again with the role tmr_pki")
            name = f"the revocation list of {authority.subject.rfc4514_string()!r}"
            ends = None if end is None else end.timestamp()
            valid.append(Validity("crl", name, one.last_update_utc.timestamp(), ends))
            revoked.update(entry.serial_number for entry in one)
    return CertificatePolicy(issuers, frozenset(revoked), tuple(valid))


def _is_of(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        return crl.issuer == authority.subject and crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
