# SPDX-License-Identifier: Apache-2.0
"""Ends of certificates, for the status of a server."""

from collections.abc import Mapping

from tmr.api.status import CertificateEnd
from tmr.licensing.spelling import instant
from tmr.net.certificate_expiry import FILES, CertificateState


def certificate_ends(
    machine: str, state: CertificateState, others: Mapping[str, int | None]
) -> tuple[CertificateEnd, ...]:
    """Ends of what `machine` uses, and of others' certificates (Unix ms by name); the first end first."""
    own = [(ends, file) for file in FILES if (ends := state.ends(file)) is not None]
    found = [CertificateEnd(machine=machine, file=file, ends=instant(round(at * 1000))) for at, file in own]
    found += [
        CertificateEnd(machine=name, file="certificate", ends=instant(ms))
        for name, ms in others.items()
        if ms is not None
    ]
    return tuple(sorted(found, key=lambda one: (one.ends, one.machine, one.file)))
