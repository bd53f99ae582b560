# SPDX-License-Identifier: Apache-2.0
"""Admission of twins: by the role in the certificate, and by the address that they ask from."""

import logging
from collections.abc import Iterable, Mapping

from starlette.requests import Request

from tmr.net.addresses import place, places
from tmr.net.identity import Identity
from tmr.net.problem import ProblemError
from tmr.net.server import demand, peer_of
from tmr.runtime.logs import fields
from tmr.upstream.metrics import Metrics

log = logging.getLogger(__name__)


class TwinCertificatePolicy:
    """Admits the twins and no other peers. `addresses`: of each twin by name; empty: any twin from anywhere.

    A twin's key that was copied to a third machine is of no use there, even where no firewall stands.
    """

    def __init__(self, metrics: Metrics, addresses: Mapping[str, Iterable[str]] | None = None) -> None:
        self._metrics = metrics
        self._places = {name: places(known) for name, known in (addresses or {}).items()}

    def admit_request(self, request: Request) -> str:
        """The name of the twin that asks. Raises ProblemError 403 wrong-role."""
        return self.admit(peer_of(request), request.client.host if request.client is not None else "")

    def admit(self, peer: Identity, address: str) -> str:
        """The name of the twin that asks from `address`. Raises ProblemError 403 wrong-role."""
        try:
            demand(peer, "twin")
        except ProblemError:
            self._metrics.refused.labels(peer.role).inc()
            raise
        if self._places:
            self._at_its_place(peer.name, address)
        return peer.name

    def _at_its_place(self, name: str, address: str) -> None:
        known = self._places.get(name, frozenset())
        if address and place(address) in known:
            return
        self._metrics.misplaced.inc()
        log.warning("twin at a foreign address", extra=fields(twin=name, address=address))
        expected = " or ".join(sorted(map(str, known))) or "no address that this upstream knows"
        raise ProblemError(
            "wrong-role",
            403,
            "Wrong place",
            f"The certificate of twin {name} is used from {address}; it belongs to {expected}.",
            "If the twin has moved, correct `twins` in upstream.toml; if not, revoke its certificate.",
        )
