# SPDX-License-Identifier: Apache-2.0
"""Mutual TLS: every connection has a certificate of the system's own CA at both ends.

TLS 1.3 alone, and no session tickets: a resumed session would be let in without a look at the certificate's
end and at the revocation list. TLS 1.3 has neither renegotiation nor compression.
"""

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from tmr.net import certificate_policy
from tmr.net.certificate_policy import BadList, CertificatePolicy
from tmr.net.identity import BadIdentity, Role, of_certificate

HTTP: Final = "http/1.1"
"""The ALPN name of what is spoken unless another is asked for."""


class TlsFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files: the own certificate, its private key, the CA of every peer's, the CA's revocation list."""

    certificate: str
    key: str
    ca: str
    crl: str | None = None

    def paths(self) -> dict[str, Path]:
        """Those that are configured, by their key."""
        return {key: Path(path) for key, path in msgspec.structs.asdict(self).items() if path is not None}

    def problems(self) -> list[str]:
        """Reasons why these files cannot be used, each a sentence; empty when all is well."""
        found = []
        for key, path in self.paths().items():
            try:
                path.read_bytes()
            except OSError as error:
                found.append(f"tls.{key} = {str(path)!r} cannot be read: {error.strerror}")
        if not found:
            try:
                self.admission()
                check_files(self)
            except ssl.SSLError as error:
                found.append(f"tls: {error.reason or error}; certificate, key and ca must be PEM and fit")
            except BadList as error:
                found.append(str(error))
        return found

    def admission(self, now: float | None = None) -> CertificatePolicy:
        """Policy of the files at Unix time `now`. Raises OSError, BadList."""
        return certificate_policy.read(Path(self.ca), None if self.crl is None else Path(self.crl), now)

    def read(self) -> dict[str, bytes]:
        """Contents of those that are configured, by their key. Raises OSError."""
        return {key: path.read_bytes() for key, path in self.paths().items()}


def check_files(files: TlsFiles) -> None:
    """Make a context of the files, as a trial. Raises ssl.SSLError, OSError."""
    _context(files, ssl.PROTOCOL_TLS_SERVER)


def _context(files: TlsFiles, protocol: int, spoken: Sequence[str] = (HTTP,)) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=files.ca)
    if files.crl is not None:
        context.load_verify_locations(cafile=files.crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    context.load_cert_chain(files.certificate, files.key)
    context.set_alpn_protocols(list(spoken))
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    return context


class Renewable(ssl.SSLContext):
    """Stands for the context that was made last.

    Files can only be added to a context of OpenSSL: one that is loaded again would trust a former CA, and
    know a former revocation list, until the process ends.
    """

    _make: Callable[[], ssl.SSLContext]
    _current: ssl.SSLContext

    def renew(self) -> None:
        """Make the context anew for connections from now on. Raises OSError, ssl.SSLError."""
        self._current = self._make()

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return self._current.wrap_bio(*args, **options)

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        return self._current.wrap_socket(*args, **options)


def _renewable(files: TlsFiles, protocol: int, kind: type[ssl.SSLObject], spoken: Sequence[str]) -> Renewable:
    def make() -> ssl.SSLContext:
        context = _context(files, protocol, spoken)
        context.sslobject_class = kind
        return context

    made = Renewable(protocol)
    made._make = make
    made.renew()
    return made


def server_context(
    files: TlsFiles, refused: Callable[[str], None] = lambda _: None, spoken: Sequence[str] = (HTTP,)
) -> Renewable:
    """For listening: no peer without a certificate of the CA. `refused` hears why a handshake failed.

    `spoken`: the protocols of its connections by their ALPN names (RFC 7301), the preferred one first.
    """

    class TellingObject(ssl.SSLObject):
        """asyncio would drop the alert that tells the peer why together with the connection."""

        _failure: ssl.SSLError | None = None

        def do_handshake(self) -> None:
            if self._failure is not None:
                raise self._failure
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLSyscallError):
                raise
            except ssl.SSLError as error:
                self._failure = error
                refused(reason_of(error))
                raise ssl.SSLWantReadError("the alert has to leave first") from error

    return _renewable(files, ssl.PROTOCOL_TLS_SERVER, TellingObject, spoken)


def reason_of(error: ssl.SSLError) -> str:
    """Reason why a handshake failed, in OpenSSL's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or str(error)).lower().replace("_", " ")


def client_context(files: TlsFiles, system: str, role: Role, spoken: str = HTTP) -> Renewable:
    """For asyncio connections to peers that must have `role` in `system`.

    The `server_hostname` of a connection is the *name* that the peer's SPIFFE identity must carry. It is
    checked within the handshake: a wrong peer is never sent a byte of a request.
    """

    class CheckedObject(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            try:
                peer = of_certificate(cast("dict[str, Any] | None", self.getpeercert()), system)
            except BadIdentity as error:
                raise ssl.SSLCertVerificationError(str(error)) from None
            if peer.role != role or peer.name != self.server_hostname:
                raise ssl.SSLCertVerificationError(
                    f"certificate of {peer}, expected {role} {self.server_hostname}"
                )

    return _renewable(files, ssl.PROTOCOL_TLS_CLIENT, CheckedObject, (spoken,))
