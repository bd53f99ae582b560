# SPDX-License-Identifier: Apache-2.0
"""Fair shares of this server's time: requests take turns between clients, whatever one of them sends.

A client is a name in a certificate; its share is divided between the addresses that it asks from, and then
by priority. In one turn of the event loop only little work is begun (`TURN_COST`), so that the renewal of the
lease, and what arrives meanwhile, come in between.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from tmr.api.patience import ANSWER_WITHIN
from tmr.http.load_limits import Priority
from tmr.net.problem import ProblemError
from tmr.runtime.turns import Turns, set_next_turn
from tmr.service.problems import problem

TURN_COST: Final = 1.0
"""Cost, without weights, of what is begun in one turn of the event loop, unless one alone costs more."""
COST_BYTES: Final = 2048
"""Bytes of a body that cost as much as a request without one."""
OF_CLIENT_MAX: Final = 512
"""Requests of one client that wait or are in work at a time."""
SLOW_OF_CLIENT_MAX: Final = 32
"""Requests of one client whose bodies have been on their way for longer than SLOW."""
SLOW: Final = 1.0
"""Seconds after which a body counts as slow."""
WAIT_MAX: Final = ANSWER_WITHIN
"""Seconds after which a request that still waits is refused, if its client has many: it would time out."""
MANY: Final = 16
"""Requests of one client up to which none is refused for having waited."""
RETRY_AFTER: Final = 2
"""Seconds that a client is asked to stay away with what is beyond its bounds."""

WEIGHTS: Final = {Priority.CRITICAL: 1.0, Priority.HELD: 2.0, Priority.NEW: 3.0, Priority.READ_ONLY: 4.0}
"""Factor of the cost: what is less urgent takes more of its client's share, but no more of a turn."""
REASONS: Final = ("requests", "waited", "slow-body")
"""Values of the metric's label."""


class Client(msgspec.Struct, frozen=True):
    """Owner of the share that a request takes: `account` of the certificate, and the address that it comes
    from.
    """

    account: str
    address: str


class FairShare:
    """Turns and bounds of all clients. `limited(reason)` hears of each request that is refused here."""

    def __init__(self, limited: Callable[[str], None]) -> None:
        self._limited = limited
        self.turns = Turns(TURN_COST)
        self._requests: dict[str, int] = {}
        self._slow: dict[str, int] = {}

    # -- bounds --------------------------------------------------------------------------------------------

    async def enter(self, client: Client) -> None:
        """Count a request of `client` until `leave`. Raises ProblemError overloaded if it has too many."""
        count = self._requests.get(client.account, 0)
        if count >= OF_CLIENT_MAX:
            await self._turn(client, Priority.CRITICAL, 1.0)  # else a loop without pauses is answered at once
            detail = f"{count} requests of {client.account} wait or are in work."
            raise self._refusal("requests", detail)
        self._requests[client.account] = count + 1

    def leave(self, client: Client) -> None:
        """The answer begins, or there will be none."""
        _less(self._requests, client.account)

    async def slowly(self, client: Client) -> None:
        """A body is slow. Raises ProblemError overloaded if too many bodies of `client` are."""
        count = self._slow.get(client.account, 0)
        if count >= SLOW_OF_CLIENT_MAX:
            await self._turn(client, Priority.CRITICAL, 1.0)
            raise self._refusal("slow-body", f"The bodies of {count} requests of {client.account} are slow.")
        self._slow[client.account] = count + 1

    def arrived(self, client: Client) -> None:
        """A body that was slow is there, or will not come."""
        _less(self._slow, client.account)

    # -- turns ---------------------------------------------------------------------------------------------

    async def turn(self, client: Client, priority: Priority, size: int = 0) -> None:
        """Wait for the turn of a request with a body of `size` bytes, from which on it is the current one.

        Raises ProblemError overloaded if that takes too long because its client has many requests.
        """
        set_next_turn(partial(self.more, client, priority))
        waited = await self._turn(client, priority, 1.0 + size / COST_BYTES)
        if waited > WAIT_MAX and self._requests.get(client.account, 0) > MANY:
            raise self._refusal("waited", f"{client.account} asks for more than its share of this server.")

    async def more(self, client: Client, priority: Priority, cost: float) -> None:
        """Wait for the next turn of a request that goes on."""
        await self._turn(client, priority, cost)

    async def _turn(self, client: Client, priority: Priority, cost: float) -> float:
        """Wait for the turn; seconds that it took."""
        return await self.turns.passed((client.account, client.address, priority), cost, WEIGHTS[priority])

    def _refusal(self, reason: str, detail: str) -> ProblemError:
        self._limited(reason)
        return problem("overloaded", detail, retry_after=RETRY_AFTER)


def _less(counts: dict[str, int], account: str) -> None:
    counts[account] -= 1
    if not counts[account]:
        del counts[account]
