# SPDX-License-Identifier: Apache-2.0
"""The view of the front network from this machine: by traffic heard, and by ARP requests to targets.

A carrier says little: the switch's port may be in no VLAN, or filter everything. Pure; times are nanoseconds.
"""

from typing import Final

UNKNOWN: Final = 0
"""No targets are configured: nothing is watched."""
NOTHING: Final = 2
"""No machine is heard."""
TRAFFIC: Final = 3
"""Others are heard; no target answers."""
TARGET: Final = 4
"""A target answers: both directions work."""

PROBE_EVERY_NS: Final = 250_000_000
ANSWERED_NS: Final = 1_000_000_000
"""An answer counts for so long: four requests, or their answers, may be lost before that."""
HEARD_NS: Final = 3_000_000_000
"""So does a frame of any machine; a client that misses the address asks for it every second."""


class FrontWatch:
    """Watch of the front network: what was heard, and when."""

    def __init__(self, now_ns: int) -> None:
        self._answered_ns = self._heard_ns = now_ns - HEARD_NS
        self._probed_ns = now_ns - PROBE_EVERY_NS

    def heard(self, now_ns: int, *, answer: bool) -> None:
        """A frame of another machine came; `answer`: a target's, to a request of ours."""
        self._heard_ns = now_ns
        if answer:
            self._answered_ns = now_ns

    def probe_due(self, now_ns: int) -> bool:
        """It is time to ask the targets; counts as asked."""
        if now_ns - self._probed_ns < PROBE_EVERY_NS:
            return False
        self._probed_ns = now_ns
        return True

    def view(self, now_ns: int) -> int:
        """View of the front network: NOTHING, TRAFFIC or TARGET."""
        if now_ns - self._answered_ns < ANSWERED_NS:
            return TARGET
        return TRAFFIC if now_ns - self._heard_ns < HEARD_NS else NOTHING
