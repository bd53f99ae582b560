# SPDX-License-Identifier: Apache-2.0
"""The client machine's part: an application that holds the licence, and a prober of the virtual address."""

from __future__ import annotations

from contextlib import ExitStack

from testbed import application
from testbed.addresses import SERVER_PORT, VIP
from testbed.application import Request
from testbed.client_program import ClientProgram
from testbed.probing import Probing, probing
from testbed.site import Site


class Witness:
    """A program on the client machine, and one in its network; their output is read from outside."""

    prober: Probing

    def __init__(self, site: Site) -> None:
        self._site, self._stack = site, ExitStack()
        self._holder = ClientProgram(site, "application")

    def start(self, firm: int, product: int, ttl: int) -> None:
        """Start both anew; the prober is answered."""
        self._stack.enter_context(self._holder.running("hold", firm, product, ttl))
        self.prober = self._stack.enter_context(probing(self._site.names, VIP, SERVER_PORT))

    def stop(self) -> None:
        """End both; the application gives its licence back."""
        self._stack.close()

    def beats(self, last: int | None = None) -> list[Request]:
        """Requests of the application, or its `last` ones."""
        return [application.read(line) for line in self._holder.lines(last)]

    def beat_since(self, since_ns: int) -> Request | None:
        """The last heartbeat, if it was answered after `since_ns`."""
        beats = self.beats(last=2)
        return beats[-1] if beats and beats[-1].answered > since_ns and not beats[-1].error else None

    def said(self) -> str:
        """Standard error of the application."""
        return self._holder.said()
