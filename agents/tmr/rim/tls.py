"""Mutual TLS: every connection has a certificate of the system's own CA at both ends."""

import ssl
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from tmr.rim.identity import BadIdentity, Role, of_certificate

HTTP: Final = "http/1.1"
"""The ALPN name of what is spoken unless another is asked for."""


class TlsFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files: the own certificate, its private key, and the CA that signs every peer's."""

    certificate: str
    key: str
    ca: str

    def problems(self) -> list[str]:
        """What keeps these files from being used, each a sentence; empty when all is well."""
        found = []
        for key in ("certificate", "key", "ca"):
            path = Path(getattr(self, key))
            try:
                path.read_bytes()
            except OSError as error:
                found.append(f"tls.{key} = {str(path)!r} cannot be read: {error.strerror}")
        if not found:
            try:
                _context(self, ssl.PROTOCOL_TLS_SERVER)
            except ssl.SSLError as error:
                found.append(f"tls: {error.reason or error}; certificate, key and ca must be PEM and fit")
        return found

    def stamp(self) -> tuple[int, ...]:
        """Changes whenever one of the files was renewed; zeros where one is missing for a moment."""
        stamps = []
        for path in (self.certificate, self.key, self.ca):
            try:
                stamps.append(Path(path).stat().st_mtime_ns)
            except OSError:
                stamps.append(0)
        return tuple(stamps)


def _context(files: TlsFiles, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=files.ca)
    context.load_cert_chain(files.certificate, files.key)
    return context


def server_context(files: TlsFiles, *protocols: str) -> ssl.SSLContext:
    """For listening: TLS 1.3 (1.2 at least), and no peer without a certificate of the CA.

    `protocols`: what is spoken beside HTTP/1.1, by its ALPN name.
    """
    context = _context(files, ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([*protocols, HTTP])
    return context


def client_context(files: TlsFiles, system: str, role: Role, protocol: str = HTTP) -> ssl.SSLContext:
    """For asyncio connections to peers that must have `role` in `system`.

    The `server_hostname` of a connection is the *name* that the peer's SPIFFE identity must carry. It is
    checked within the handshake: a wrong peer is never sent a byte of a request.
    """
    context = _context(files, ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols([protocol])

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

    context.sslobject_class = CheckedObject
    return context


class Renewal:
    """Takes renewed files into contexts in use: connections made from then on present the new certificate."""

    def __init__(self, files: TlsFiles, *contexts: ssl.SSLContext) -> None:
        self._files = files
        self._contexts = contexts
        self._stamp = files.stamp()

    def check(self) -> bool:
        """Load the files again if one has changed. Raises ssl.SSLError or OSError, changing nothing."""
        stamp = self._files.stamp()
        if stamp == self._stamp or 0 in stamp:
            return False
        _context(self._files, ssl.PROTOCOL_TLS_SERVER)
        for context in self._contexts:
            context.load_verify_locations(cafile=self._files.ca)
            context.load_cert_chain(self._files.certificate, self._files.key)
        self._stamp = stamp
        return True
