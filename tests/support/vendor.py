# SPDX-License-Identifier: Apache-2.0
"""A vendor for tests: real key, real update files."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.api.deployment import NETWORK, TMR
from tmr.licensing import Update, issue, open_request, public_key_to_pem, raw_public_key
from tmr.licensing.orders import Order

FIRM = 6_000_010


class Vendor:
    """One firm with its record of updates."""

    def __init__(self, firm_code: int = FIRM) -> None:
        self.firm_code = firm_code
        self.key = Ed25519PrivateKey.generate()
        self.public_pem = public_key_to_pem(raw_public_key(self.key))
        self._history: list[Update] = []

    def issue(self, requests: Sequence[bytes], *orders: Order | None) -> bytes:
        """The update file for whoever made these request files; one is of a network licence server."""
        issued = issue(
            self._history,
            [open_request(request) for request in requests],
            [order for order in orders if order is not None],
            firm_code=self.firm_code,
            key=self.key,
            issued_ms=1_790_000_000_000,
            update_id=f"update-{self.firm_code}-{len(self._history) + 1}",
            deployment=NETWORK if len(requests) == NETWORK.replicas else TMR,
        )
        self._history.append(issued.update)
        return issued.file
