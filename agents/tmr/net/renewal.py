# SPDX-License-Identifier: Apache-2.0
"""Renewal of the certificate files of a running daemon, and the watch over what is in use.

A daemon keeps what it has read while the files on its disk are gone, unreadable, half written, or not valid.
"""

import logging
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from cryptography import x509
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tmr.net import certificate_expiry
from tmr.net.certificate_expiry import DAY, FILES, CertificateState, Validity
from tmr.net.identity import parse_spiffe
from tmr.net.tls import Renewable, TlsFiles, check_files
from tmr.runtime.logs import fields

log = logging.getLogger(__name__)

URGENT: Final = 7
"""Stage (days) from which the end of a certificate is logged as an error."""


class Renewal(Collector):
    """Takes renewed files into contexts in use: connections made from then on see nothing of the former.

    `admission`: certificates that the files in use admit; earlier connections may have others. `on_checked`
    hears the state at once and after each check. `wall`: Unix time.
    """

    def __init__(
        self,
        files: TlsFiles,
        *contexts: Renewable,
        on_checked: Callable[[CertificateState], None] = lambda _: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._files = files
        self._contexts = contexts
        self._on_checked = on_checked
        self._wall = wall
        self._used = files.read()
        self.admission = files.admission()
        self.state = CertificateState(validities(self._used, self.admission.lists))
        self._told: tuple[int, tuple[tuple[str, int | None], ...]] = (-1, ())
        """Day and stages that were logged last."""
        self._report()

    def check(self) -> bool:
        """Look at the files, and take renewed ones into use: True. Never raises: `state` has the problem."""
        problem, taken = "", False
        try:
            found = self._files.read()
            if found != self._used:
                taken = not (problem := self._take(found))
        except (ssl.SSLError, ValueError) as error:  # SSLError is an OSError, too
            reason = getattr(error, "reason", None) or error
            problem = f"the certificate files on the disk cannot be used: {reason}"
        except OSError as error:
            key = next((key for key, path in self._files.paths().items() if str(path) == error.filename), "")
            problem = f"tls.{key} = {error.filename!r} cannot be read: {error.strerror}"
        if problem:
            problem += (
                ". The daemon goes on with what it had read before, until that ends or the daemon is "
                "started again; bring the files: site.yml --tags pki"
            )
        former = self.state.problem
        self.state = CertificateState(self.state.validities, problem)
        if problem and problem != former:
            log.error("certificate files cannot be used; keeping the former", extra=fields(reason=problem))
        elif former and not problem and not taken:
            log.info("certificate files are as before again")
        self._report()
        return taken

    def _take(self, found: dict[str, bytes]) -> str:
        """Take the files into use; or the reason not to. Raises SSLError, OSError, ValueError."""
        admission = self._files.admission(self._wall())
        new = validities(found, admission.lists)
        if why := certificate_expiry.objection(new, self.state.validities, self._wall()):
            return why
        check_files(self._files)
        for context in self._contexts:
            context.renew()
        self._used, self.admission = found, admission
        self.state = CertificateState(new)
        return ""

    def _report(self) -> None:
        now = self._wall()
        stages = tuple((one.name, certificate_expiry.stage(one, now)) for one in self.state.validities)
        told = (int(now // DAY), stages)
        if told != self._told:
            self._told = told
            for one, (_, stage) in zip(self.state.validities, stages, strict=True):
                if alarm := certificate_expiry.alarm_of(one, now):
                    urgent = stage is None or stage <= URGENT
                    level = logging.ERROR if urgent else logging.WARNING
                    left = "" if one.ends is None else f"{(one.ends - now) / DAY:.1f}"
                    log.log(level, "certificate", extra=fields(file=one.file, days=left, alarm=alarm))
        self._on_checked(self.state)

    def collect(self) -> Iterable[Metric]:
        """The metrics of now."""
        now = self._wall()
        seconds = GaugeMetricFamily(
            "tmr_certificate_seconds",
            "Seconds until the first certificate or list of the file in use ends; negative: it has ended.",
            labels=["file"],
        )
        for file in FILES:
            if (ends := self.state.ends(file)) is not None:
                seconds.add_metric([file], ends - now)
        yield seconds
        yield GaugeMetricFamily(
            "tmr_certificate_files_usable",
            "1 while the certificate files on the disk are those in use; 0: the daemon keeps former ones.",
            value=float(not self.state.problem),
        )


def validities(found: Mapping[str, bytes], lists: Iterable[Validity] = ()) -> tuple[Validity, ...]:
    """Validities of what is in the files, by their keys, and of the revocation lists. Raises ValueError."""
    own = x509.load_pem_x509_certificate(found["certificate"])
    cas = x509.load_pem_x509_certificates(found["ca"])
    return (
        _validity("certificate", f"the certificate of {_holder(own)}", own),
        *(_validity("ca", f"the CA {one.subject.rfc4514_string()!r}", one) for one in cas),
        *lists,
    )


def _validity(file: Any, name: str, certificate: x509.Certificate) -> Validity:
    return Validity(
        file, name, certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    )


def _holder(certificate: x509.Certificate) -> str:
    """Role and name of its SPIFFE identity, else its subject."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        return str(parse_spiffe(uri, uri.split("/")[2]))
    except (x509.ExtensionNotFound, ValueError, IndexError):
        return certificate.subject.rfc4514_string()
