# SPDX-License-Identifier: Apache-2.0
"""Mutual TLS to the servers: both ends have a certificate of the system's own CA.

Beyond the usual checks (chain, dates, address) a server must carry the SPIFFE identity of a TMR server of the
right system, `spiffe://SYSTEM/twin/NAME` or `spiffe://SYSTEM/upstream/NAME`. It is checked within the
handshake: a wrong server is never sent a byte of a request.
"""

import re
import ssl
from collections.abc import Mapping
from typing import Any, Final, cast

from tmr.api.errors import ConfigError, Untrusted
from tmr.client.config import TlsFiles

SERVER_ROLES: Final = ("twin", "upstream")


def context(files: TlsFiles, system: str) -> ssl.SSLContext:
    """For connections to servers of `system`. Raises ConfigError if a file cannot be used."""
    for name, path in files.paths().items():
        try:
            path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"tls.{name}: {path} cannot be read ({error.strerror})",
                "Check that the file exists and that you may read it (group `tmr` where the roles "
                "installed it).",
            ) from None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    _load(made, files)

    class CheckedSocket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            _check(cast("Mapping[str, Any] | None", self.getpeercert()), system)

    class CheckedObject(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            _check(cast("Mapping[str, Any] | None", self.getpeercert()), system)

    made.sslsocket_class = CheckedSocket
    made.sslobject_class = CheckedObject
    return made


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Put the files into a context. Raises ConfigError if they cannot be used."""
    try:
        context.load_verify_locations(cafile=files.ca)
        if files.crl is not None:
            context.load_verify_locations(cafile=files.crl)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"tls: {', '.join(map(str, files.paths().values()))} cannot be used "
            f"({getattr(error, 'reason', None) or error})",
            "They must be PEM files, and the key must be the certificate's.",
        ) from None


def stamp(files: TlsFiles) -> tuple[int, ...]:
    """Changes whenever one of the files was renewed; zeros where one is missing for a moment."""
    stamps = []
    for path in files.paths().values():
        try:
            stamps.append(path.stat().st_mtime_ns)
        except OSError:
            stamps.append(0)
    return tuple(stamps)


def untrusted(address: str, error: ssl.SSLError) -> Untrusted | None:
    """Text for people if `error` means that one end does not trust the other; None: something else broke."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message if getattr(error, "verify_code", 0) else str(error.args[-1])
        return Untrusted(
            f"The server at {address} is not trusted: {reason}",
            "Check `system`, `servers` and `tls.ca` in client.toml, the clocks, and its certificate.",
        )
    reason = error.reason or ""
    if "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")):
        said = reason.partition("ALERT_")[2].replace("_", " ").lower()
        return Untrusted(
            f"The server at {address} does not trust this client's certificate: {said}",
            "Use a certificate of this system's CA that has not expired, of the role `client` or `operator`.",
        )
    return None


def _check(certificate: Mapping[str, Any] | None, system: str) -> None:
    names = certificate.get("subjectAltName", ()) if certificate else ()
    uris = [value for kind, value in names if kind == "URI"]
    wanted = rf"spiffe://{re.escape(system)}/({'|'.join(SERVER_ROLES)})/[A-Za-z0-9][A-Za-z0-9._-]{{0,254}}"
    if len(uris) != 1 or not re.fullmatch(wanted, uris[0]):
        has = " and ".join(uris) or "no SPIFFE identity"
        raise ssl.SSLCertVerificationError(
            f"its certificate says {has}, but a server of the system {system!r} is expected"
        )
