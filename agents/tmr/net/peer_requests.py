# SPDX-License-Identifier: Apache-2.0
"""Fair shares of an upstream's time: requests take turns between peers, each with a bound."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from tmr.net.identity import Identity
from tmr.net.problem import ProblemError
from tmr.runtime.turns import Turns

TURN_COST: Final = 4.0
"""Cost of what is begun in one turn of the event loop, unless one request alone costs more."""
COST_BYTES: Final = 8192
"""Bytes of a request that cost as much as a request without any."""
COST_MAX: Final = 64.0
"""Cost of the largest: a snapshot is read piece by piece."""
OF_PEER_MAX: Final = 256
"""Requests of one peer at a time, of which a twin has some dozens."""
RETRY_AFTER: Final = 1
"""Seconds that a peer is asked to stay away with what is beyond."""


class PeerRequests:
    """Turns and bounds of all peers. `limited` hears the role of a peer whose request is refused here."""

    def __init__(self, limited: Callable[[str], None]) -> None:
        self._limited = limited
        self._turns = Turns(TURN_COST)
        self._open = Counter[str]()

    @asynccontextmanager
    async def one(self, peer: Identity | None, address: str, size: int) -> AsyncIterator[None]:
        """One request of `size` bytes, from its turn to its answer. Raises ProblemError overloaded."""
        name = "" if peer is None else str(peer)
        if self._open[name] >= OF_PEER_MAX:
            await self._turns.passed((name, address))  # else one without pauses is answered at once
            self._limited("" if peer is None else peer.role)
            raise ProblemError(
                "overloaded",
                503,
                "Too many requests",
                f"{OF_PEER_MAX} requests of {name or 'peers without a name'} are being worked on.",
                "Ask for less at a time. If you ask for nothing, your key may be stolen.",
                headers={"Retry-After": str(RETRY_AFTER)},
            )
        self._open[name] += 1
        try:
            await self._turns.passed((name, address), min(COST_MAX, 1.0 + size / COST_BYTES))
            yield
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]


class InTurns:
    """ASGI middleware: `app` is asked in turns between peers."""

    def __init__(self, app: ASGIApp, requests: PeerRequests) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        size = int(lengths[0]) if lengths and lengths[0].isdigit() else 0
        address = scope["client"][0] if scope.get("client") else ""
        begun = False
        try:
            async with self._requests.one(scope.get("state", {}).get("peer"), address, size):
                begun = True
                await self._app(scope, receive, send)
        except ProblemError as refused:
            if begun:
                raise
            await refused.response()(scope, receive, send)
