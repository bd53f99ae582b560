# SPDX-License-Identifier: Apache-2.0
"""The identity of a peer: the SPIFFE URI in its certificate, `spiffe://SYSTEM/ROLE/NAME`."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

Role = Literal["upstream", "twin", "client", "operator"]
ROLES: frozenset[str] = frozenset(get_args(Role))
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


class BadIdentity(ValueError):
    """The certificate does not say who its holder is in this system; the text says why."""


class Identity(msgspec.Struct, frozen=True):
    """The role and the name of a peer, unique in one TMR system."""

    role: Role
    name: str

    def __str__(self) -> str:
        return f"{self.role} {self.name}"

    @property
    def account(self) -> str:
        """Under which name sessions and borrowings are its own: an operator's are not those of a client of
        the same name. No name has a space.
        """
        return self.name if self.role == "client" else str(self)


LOCAL_OPERATOR = Identity("operator", "local")
"""Identity of those that may open the administration socket: the file's mode decides."""


def parse_spiffe(uri: str, system: str) -> Identity:
    """The identity in a SPIFFE URI of the trust domain `system`. Raises BadIdentity."""
    scheme, _, rest = uri.partition("://")
    parts = rest.split("/")
    if scheme != "spiffe" or len(parts) != 3:
        raise BadIdentity(f"{uri!r} is not spiffe://SYSTEM/ROLE/NAME")
    domain, role, name = parts
    if domain != system:
        raise BadIdentity(f"the certificate is of the system {domain!r}, not of {system!r}")
    if role not in ROLES:
        raise BadIdentity(f"the certificate has the unknown role {role!r}")
    if not _NAME.fullmatch(name):
        raise BadIdentity(f"the certificate has the ill-formed name {name!r}")
    return Identity(role, name)  # type: ignore[arg-type]


def of_certificate(certificate: Mapping[str, Any] | None, system: str) -> Identity:
    """The identity in a verified certificate as `ssl`'s `getpeercert()` gives it. Raises BadIdentity.

    Exactly one URI is allowed (SPIFFE X.509-SVID, section 2).
    """
    names = certificate.get("subjectAltName", ()) if certificate else ()
    uris = [value for kind, value in names if kind == "URI"]
    if len(uris) != 1:
        raise BadIdentity(f"the certificate has {len(uris)} URI names instead of one SPIFFE identity")
    return parse_spiffe(uris[0], system)


def public_key_hash(certificate: bytes) -> str:
    """SHA-256, hexadecimal, of the public key (SubjectPublicKeyInfo, DER) in a certificate in DER."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    info = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info).hexdigest()
