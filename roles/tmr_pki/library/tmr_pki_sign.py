# SPDX-License-Identifier: Apache-2.0
"""Ansible module `tmr_pki_sign`: signs a certificate request of somebody who is not in the inventory.

Nothing of the request but its public key goes into the certificate: who asks does not choose role and rights.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DOCUMENTATION = """
module: tmr_pki_sign
short_description: Signs a certificate request for a client or an operator
description: Takes the public key of the request, and nothing else of it.
options:
  request: {description: File with the request., type: path, required: true}
  certificate: {description: File for the certificate., type: path, required: true}
  ca: {description: Certificate of the CA., type: path, required: true}
  ca_key: {description: Private key of the CA., type: path, required: true}
  uri: {description: SPIFFE identity of the holder., type: str, required: true}
  days: {description: Days that the certificate is valid., type: int, required: true}
  renew_days: {description: A certificate with fewer days left is made again., type: int, required: true}
  revoked: {description: Serial numbers that are revoked., type: list, elements: str, required: true}
author: TMR
"""

BACKDATED = datetime.timedelta(days=1)


class BadRequest(Exception):
    """The request is not signed; the text says why and what to do."""


def public_key(request: bytes, uri: str) -> ec.EllipticCurvePublicKey:
    """The key of a request for `uri`. Raises BadRequest."""
    try:
        csr = x509.load_pem_x509_csr(request)
        signed, key, wanted = csr.is_signature_valid, csr.public_key(), _uris(csr.extensions)
    except Exception as error:  # a library's own, of many kinds: the request is anybody's
        raise BadRequest(f"it is no certificate request in PEM ({error}); make it with openssl req") from None
    if not signed:
        raise BadRequest("its signature is wrong: it was changed on the way; have it sent again")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadRequest(
            "its key is not on the curve P-256; make it with -newkey ec -pkeyopt ec_paramgen_curve:P-256"
        )
    if wanted and wanted != [uri]:
        asks = " and ".join(wanted)
        raise BadRequest(f"it asks for {asks}, and {uri} is to be certified; correct one of both")
    return key


def certificate(
    key: ec.EllipticCurvePublicKey,
    ca: x509.Certificate,
    ca_key: Any,
    uri: str,
    begins: datetime.datetime,
    ends: datetime.datetime,
) -> x509.Certificate:
    """The certificate of `key` for the client or operator `uri`."""
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, uri.rpartition("/")[2][:64])]))
        .issuer_name(ca.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )


def good(
    pem: bytes, key: ec.EllipticCurvePublicKey, ca: x509.Certificate, uri: str, until: datetime.datetime
) -> int:
    """Serial number of a certificate of the CA for `key` and `uri` that lasts until `until`; 0: it is not."""
    try:
        found = x509.load_pem_x509_certificate(pem)
        found.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return 0
    fits = found.public_key() == key and _uris(found.extensions) == [uri]
    return found.serial_number if fits and found.not_valid_after_utc > until else 0


def _uris(extensions: x509.Extensions) -> list[str]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(names.get_values_for_type(x509.UniformResourceIdentifier))


def sign(given: dict[str, Any], now: datetime.datetime, *, dry: bool) -> bool:
    """Make the certificate, unless the file has a good one: True. Raises BadRequest, OSError, ValueError."""
    key = public_key(Path(given["request"]).read_bytes(), given["uri"])
    ca = x509.load_pem_x509_certificate(Path(given["ca"]).read_bytes())
    path = Path(given["certificate"])
    revoked = {int(serial.replace(":", ""), 16) for serial in given["revoked"]}
    if path.exists():
        until = now + datetime.timedelta(days=given["renew_days"])
        serial = good(path.read_bytes(), key, ca, given["uri"], until)
        if serial and serial not in revoked:
            return False
    if not dry:
        secret = serialization.load_pem_private_key(Path(given["ca_key"]).read_bytes(), None)
        ends = min(now + datetime.timedelta(days=given["days"]), ca.not_valid_after_utc)
        made = certificate(key, ca, secret, given["uri"], now - BACKDATED, ends)
        new = path.with_name(path.name + ".new")
        new.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        new.replace(path)
    return True


def main() -> None:
    """Run as Ansible's module."""
    text = {
        name: {"type": kind, "required": True}
        for name, kind in (
            ("request", "path"),
            ("certificate", "path"),
            ("ca", "path"),
            ("ca_key", "path"),
            ("uri", "str"),
            ("days", "int"),
            ("renew_days", "int"),
        )
    }
    revoked = {"type": "list", "elements": "str", "required": True}
    module = AnsibleModule(argument_spec={**text, "revoked": revoked}, supports_check_mode=True)
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    try:
        module.exit_json(changed=sign(module.params, now, dry=module.check_mode))
    except BadRequest as error:
        module.fail_json(msg=f"{module.params['request']}: {error}. Nothing was signed.")
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{error}. Nothing was signed.")


if __name__ == "__main__":
    main()
