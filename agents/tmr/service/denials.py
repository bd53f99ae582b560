# SPDX-License-Identifier: Apache-2.0
"""Refusals on their way into the record: equal ones are counted, so that a looping client writes one line.

Pure. What is refused by the journal itself is recorded there at once; this is for refusals that the mirror
was enough for. They are written within seconds; a crash loses at most those.
"""

from typing import Final, Self

import msgspec

from tmr.ledger import Borrow, DenialCount, Grant, Session

DISTINCT_MAX: Final = 500
"""Different refusals kept at a time; beyond, they are counted for their product and reason alone."""
OF_CLIENT_MAX: Final = 50
"""Different refusals of one client kept at a time; beyond, they are counted under its name alone."""
AFTER: Final = 2.0
"""Seconds that a refusal waits for equal ones."""


class DeniedRequest(msgspec.Struct, frozen=True):
    """Client and product of a request that was denied."""

    firm_code: int
    product_code: int
    client: str
    station: str
    user: str
    address: str

    @classmethod
    def by(cls, asked: Grant | Borrow | Session) -> Self:
        """Subject that makes the request, or asks for more with the session."""
        return cls(*asked.product, asked.client, asked.station, asked.user, asked.address)


class DenialCounter:
    """Counted until they are taken to be written. `now` is monotonic, in seconds."""

    def __init__(self) -> None:
        self._counts: dict[tuple[DeniedRequest, str, str], int] = {}
        self._of_client: dict[str, int] = {}
        self._due: float | None = None

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, refused: DeniedRequest, reason: str, rule: str, count: int = 1) -> None:
        """One more."""
        known = (refused, reason, rule) in self._counts
        if not known and self._of_client.get(refused.client, 0) >= OF_CLIENT_MAX:
            # so many different ones come from one that tries; who it is, is what matters
            refused = DeniedRequest(refused.firm_code, 0, refused.client, "", "", "")
            rule = ""
        if (refused, reason, rule) not in self._counts:
            self._of_client[refused.client] = self._of_client.get(refused.client, 0) + 1
        if len(self._counts) >= DISTINCT_MAX and (refused, reason, rule) not in self._counts:
            refused, rule = DeniedRequest(refused.firm_code, refused.product_code, "", "", "", ""), ""
            if len(self._counts) >= 2 * DISTINCT_MAX and (refused, reason, rule) not in self._counts:
                return  # of so many different products, the answers themselves must do
        self._counts[refused, reason, rule] = self._counts.get((refused, reason, rule), 0) + count

    def take(self, now: float, *, at_once: bool = False) -> tuple[DenialCount, ...]:
        """Those that are due, to be written; none before they have waited for equal ones."""
        if not self._counts:
            return ()
        if self._due is None:
            self._due = now + AFTER
        if now < self._due and not at_once:
            return ()
        taken, self._counts, self._of_client, self._due = self._counts, {}, {}, None
        return tuple(
            DenialCount(
                refused.firm_code,
                refused.product_code,
                reason,
                rule,
                refused.client,
                refused.station,
                refused.user,
                refused.address,
                count,
            )
            for (refused, reason, rule), count in taken.items()
        )

    def put_back(self, refusals: tuple[DenialCount, ...]) -> None:
        """They could not be written."""
        for one in refusals:
            refused = DeniedRequest(
                one.firm_code, one.product_code, one.client, one.station, one.user, one.address
            )
            self.add(refused, one.reason, one.rule, one.count)
