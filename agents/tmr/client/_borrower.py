# SPDX-License-Identifier: Apache-2.0
"""Proof of a borrower: the private key at hand belongs to the certificate that a borrowing is bound to."""

import hashlib
import secrets

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tmr.api.errors import ConfigError
from tmr.client.borrow_problems import OtherBorrower


def prove(certificate: bytes, key: bytes) -> str:
    """The fingerprint of the certificate, if the private key belongs to it: the key signs a random challenge.

    Both PEM. Raises ConfigError if they cannot be used, `OtherBorrower` if they do not belong together.
    """
    public = _certificate(certificate).public_key()
    try:
        private = load_pem_private_key(key, password=None)
    except Exception:  # what the parser raises for hostile bytes is not documented; it may show the key
        raise ConfigError(
            "This is no unencrypted private key in PEM", "Give the client's key file."
        ) from None
    challenge = secrets.token_bytes(32)
    try:
        if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(public, ec.EllipticCurvePublicKey):
            signature = private.sign(challenge, ec.ECDSA(hashes.SHA256()))
            public.verify(signature, challenge, ec.ECDSA(hashes.SHA256()))
        elif isinstance(private, rsa.RSAPrivateKey) and isinstance(public, rsa.RSAPublicKey):
            signature = private.sign(challenge, padding.PKCS1v15(), hashes.SHA256())
            public.verify(signature, challenge, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(private, ed25519.Ed25519PrivateKey) and isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(private.sign(challenge), challenge)
        else:
            raise InvalidSignature
    except (InvalidSignature, ValueError):
        raise OtherBorrower(
            "The private key at hand does not belong to the certificate",
            "Give the two files that were made together.",
        ) from None
    return fingerprint(certificate)


def fingerprint(certificate: bytes) -> str:
    """Fingerprint that a borrowing is bound to: SHA-256 (hexadecimal) of the certificate's
    SubjectPublicKeyInfo in DER.

    `certificate`: PEM. A renewed certificate with the same key has the same. Raises ConfigError.
    """
    public = _certificate(certificate).public_key()
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise ConfigError("This is no certificate in PEM", "Give the client's certificate file.") from None
