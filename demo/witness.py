# SPDX-License-Identifier: Apache-2.0
"""The client machine's part: an application that holds the licence, and a prober of the virtual address."""

from __future__ import annotations

from contextlib import ExitStack

from testbed.addresses import SERVER_PORT, VIP
from testbed.client_program import ClientProgram
from testbed.probing import Probing, probing
from testbed.site import Site
from testbed.workload.operations import Operation
from testbed.workload.plan import FOREVER, Client, Plan, Use

_PATIENCE_S = 300.0
_FEW = 8
"""Lines that hold the last answered heartbeat for sure: of each there are two."""


class Witness:
    """A program on the client machine, and one in its network; their output is read from outside."""

    prober: Probing

    def __init__(self, site: Site) -> None:
        self._site, self._stack = site, ExitStack()
        self._holder = ClientProgram(site, "holder")

    def start(self, firm: int, product: int, ttl: int) -> None:
        """Start both anew; the prober is answered."""
        holds = Client(
            "demo",
            ((Use(product, hold=FOREVER), 1),),
            pause=0.0,
            beat=0.25,
            patience=_PATIENCE_S,
            beat_patience=_PATIENCE_S,
        )
        self._stack.enter_context(self._holder.running(Plan(firm, (holds,), ttl)))
        self.prober = self._stack.enter_context(probing(self._site.names, VIP, SERVER_PORT))

    def stop(self) -> None:
        """End both; the application gives its licence back."""
        self._stack.close()

    def beats(self, last: int | None = None) -> list[Operation]:
        """Heartbeats of the application whose outcome is known: all, or those of the `last` lines."""
        return [
            one
            for one in self._holder.operations(last)
            if one.verb == "heartbeat" and (one.failed or one.answered is not None)
        ]

    def beat_since(self, since: float) -> Operation | None:
        """The last heartbeat, if it was confirmed after `since` (CLOCK_BOOTTIME)."""
        beats = self.beats(_FEW)
        return beats[-1] if beats and not beats[-1].failed and (beats[-1].answered or 0.0) > since else None

    def said(self) -> str:
        """Standard error of the application."""
        return self._holder.said()
