# SPDX-License-Identifier: Apache-2.0
"""Jinja filter `tmr_pki_ca_problem`: the reason why a CA cannot sign for the system."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def problem(certificate: str, key: str) -> str:
    """Reason why the CA in the file `certificate`, with its private key in the file `key`, cannot sign
    certificates and revocation lists now; empty: it can. The text names the file and the remedy."""
    try:
        found = x509.load_pem_x509_certificates(Path(certificate).read_bytes())
    except OSError as error:
        return f"{certificate} cannot be read: {error.strerror}"
    except ValueError:
        return f"{certificate} has no certificate in PEM; put the CA's there"
    if len(found) != 1:
        return f"{certificate} has {len(found)} certificates; leave only that of the CA, which must be a root"
    reason = _unfit(found[0])
    return f"{certificate} {reason}" if reason else _unusable(key, found[0])


def _unfit(ca: x509.Certificate) -> str:
    try:
        ca.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return f"was signed by {ca.issuer.rfc4514_string()!r}; a root is needed, which signed itself"
    if not _signs(ca):
        return "may not sign certificates and lists; make it with CA:TRUE, keyCertSign and cRLSign"
    now = datetime.datetime.now(datetime.UTC)
    if now < ca.not_valid_before_utc:
        return (
            f"is valid from {ca.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on; set the controller's clock right"
        )
    if now >= ca.not_valid_after_utc:
        return f"ended on {ca.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; replace the CA"
    return ""


def _signs(ca: x509.Certificate) -> bool:
    try:
        if not ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        usage = ca.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid
    except ValueError:
        return False
    return usage.key_cert_sign and usage.crl_sign


def _unusable(path: str, ca: x509.Certificate) -> str:
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return f"{path} is not there; put the CA's key there, not encrypted, with mode 0600, or restore it"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    try:
        key = load_pem_private_key(content, None)
    except TypeError:
        return f"{path} is encrypted; decrypt it: openssl pkey -in OLD -out NEW"
    except (ValueError, UnsupportedAlgorithm):
        return f"{path} has no private key in PEM, or is encrypted by another program; put the CA's key there"
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        return f"{path} is neither an elliptic curve's nor an RSA key; make a CA with such a key"
    if key.public_key() != ca.public_key():
        return f"{path} is not the key of the CA beside it; bring the two that belong together"
    return ""


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions of the filters."""
        return {"tmr_pki_ca_problem": problem}
