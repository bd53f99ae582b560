# SPDX-License-Identifier: Apache-2.0
"""Certificates of a TMR system for tests: a real CA, real keys, made in a moment."""

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tmr.net.tls import TlsFiles

VALID = (-300.0, 86_400.0)
"""Seconds from now: when a certificate or a list begins and ends."""
LOOPBACK = ("127.0.0.1", "::1")


class Authority:
    """A CA in `directory` that issues identities of one system."""

    def __init__(self, directory: Path, system: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.system = system
        self.ca = directory / "ca.crt"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{system} CA")])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        public = self._key.public_key()
        certificate = (
            self._builder(self._name, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, valid: tuple[float, float] = VALID
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(seconds=valid[0]))
            .not_valid_after(now + datetime.timedelta(seconds=valid[1]))
        )

    def crl(self, *revoked: TlsFiles, stem: str = "crl", valid: tuple[float, float] = VALID) -> Path:
        """The list of `revoked` certificates, in a file of the directory."""
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now + datetime.timedelta(seconds=valid[0]))
            .next_update(now + datetime.timedelta(seconds=valid[1]))
        )
        for files in revoked:
            certificate = x509.load_pem_x509_certificate(Path(files.certificate).read_bytes())
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(now)
                .build()
            )
        path = self.directory / f"{stem}.pem"
        made = self.directory / f"{stem}.new"
        made.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        made.replace(path)
        return path

    def issue(
        self,
        role: str,
        name: str,
        *,
        addresses: Iterable[str] = LOOPBACK,
        uris: Sequence[str] | None = None,
        stem: str | None = None,
        valid: tuple[float, float] = VALID,
        self_signed: bool = False,
    ) -> TlsFiles:
        """A certificate and key for `name` in `role`; `uris` replaces the SPIFFE identity.

        `self_signed`: the CA is named as the issuer, but the signature is by the certificate's own key.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(uri)
            for uri in (uris if uris is not None else [f"spiffe://{self.system}/{role}/{name}"])
        ]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if role in ("upstream", "twin"):
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            names.append(x509.DNSName(name))
            names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        builder = (
            self._builder(subject, key.public_key(), valid)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        stem = stem or f"{role}-{name}"
        certificate_file, key_file = self.directory / f"{stem}.crt", self.directory / f"{stem}.key"
        certificate = builder.sign(key if self_signed else self._key, hashes.SHA256())
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return TlsFiles(certificate=str(certificate_file), key=str(key_file), ca=str(self.ca))


class System:
    """The certificates of a whole system, by role and name."""

    def __init__(self, authority: Authority, files: dict[tuple[str, str], TlsFiles]) -> None:
        self.authority = authority
        self.name = authority.system
        self._files = files

    def files(self, role: str, name: str) -> TlsFiles:
        """The files of one identity that `make_system` was asked for."""
        return self._files[role, name]

    def upstream(self, name: str) -> TlsFiles:
        return self.files("upstream", name)

    def twin(self, name: str) -> TlsFiles:
        return self.files("twin", name)

    def client(self, name: str) -> TlsFiles:
        return self.files("client", name)

    def operator(self, name: str) -> TlsFiles:
        return self.files("operator", name)


def make_system(
    directory: Path,
    system: str = "lab",
    *,
    upstreams: Sequence[str] = ("up1", "up2", "up3"),
    twins: Sequence[str] = ("tmr1", "tmr2"),
    clients: Sequence[str] = ("alice",),
    operators: Sequence[str] = ("olga",),
    addresses: Iterable[str] = LOOPBACK,
) -> System:
    """A CA and a certificate for everybody named, below `directory`/pki-`system`."""
    authority = Authority(directory / f"pki-{system}", system)
    wanted = {"upstream": upstreams, "twin": twins, "client": clients, "operator": operators}
    addresses = tuple(addresses)
    files = {
        (role, name): authority.issue(role, name, addresses=addresses)
        for role, names in wanted.items()
        for name in names
    }
    return System(authority, files)
