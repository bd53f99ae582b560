# SPDX-License-Identifier: Apache-2.0
"""Certificates of a twin and, as they tell it, of the upstreams: their ends, and alarms about them."""

from tmr.api.status import CertificateEnd
from tmr.net.certificate_expiry import CertificateState
from tmr.quorum.proposer import Proposer
from tmr.service.certificate_ends import certificate_ends


def twin_certificate_ends(twin: Proposer, state: CertificateState) -> tuple[CertificateEnd, ...]:
    """Ends of what the twin uses, and of the certificates of the upstreams that were heard."""
    heard = {
        name: peer.state.certificate.ends_ms
        for name, peer in zip(twin.names, twin.replicas, strict=True)
        if peer.state is not None
    }
    return certificate_ends(twin.owner.name, state, heard)


def twin_certificate_alarms(twin: Proposer, state: CertificateState, now: float) -> list[str]:
    """Alarms about its own certificates at Unix time `now`, and of the upstreams that have one."""
    found = [
        name
        for name, peer in zip(twin.names, twin.replicas, strict=True)
        if peer.reachable and peer.state is not None and peer.state.certificate.alarm
    ]
    if not found:
        return state.alarms(now)
    return [
        *state.alarms(now),
        f"certificates of {' and '.join(found)} end soon, or cannot be used: `tmr-upstream status` there "
        "says which; renew them: site.yml --tags pki",
    ]
