# SPDX-License-Identifier: Apache-2.0
"""Lease arithmetic: how long a holder may act on what a majority granted it.

All times are seconds on the machine's own monotonic clock (CLOCK_BOOTTIME: it counts suspend, and no
administrator can set it). No two machines' clocks are compared.
"""

from collections.abc import Iterable

import msgspec

from tmr.quorum.majority import reached

DRIFT = 0.01
"""Bound on how much any clock's rate differs from true time."""


class Timing(msgspec.Struct, frozen=True):
    """The times of one TMR system, in seconds."""

    ttl: float = 2.0
    """A replica grants no other lease for this long after it received the holder's message."""
    margin: float = 0.2
    """Taken off the holder's side: the kernel removes an address up to 0.17 s late."""

    @property
    def usable(self) -> float:
        """Seconds for which the holder may act after it *sent* the message that was granted.

        The holder's clock may be slow and the granter's fast, both by DRIFT.
        """
        return self.usable_of(self.ttl)

    def usable_of(self, granted: float) -> float:
        """The same for a lease of `granted` seconds; of no more than `ttl`, whatever was granted."""
        return min(granted, self.ttl) * (1 - DRIFT) / (1 + DRIFT) - self.margin

    @property
    def renewal(self) -> float:
        """An active twin that has nothing to write renews this often."""
        return self.ttl / 6

    @property
    def retry(self) -> float:
        """A passive twin that was refused asks again after about this long."""
        return self.ttl / 8

    @property
    def again(self) -> float:
        """A replica that failed at once is asked again after this long: it may be starting."""
        return self.ttl / 16

    @property
    def pause(self) -> float:
        """A holder whose clocks stood still for longer than about this gives its term up."""
        return self.ttl / 4

    @property
    def request_timeout(self) -> float:
        """A replica that has not answered after this long is taken as unreachable."""
        return self.ttl / 2


def deadline(ends: Iterable[float]) -> float:
    """End of the lease from the ends of what each replica granted.

    The second best counts: a majority must agree. Returns -inf with fewer than two.
    """
    return reached(ends, float("-inf"))
