# SPDX-License-Identifier: Apache-2.0
"""Units taken from the licences of sessions, once for the same idempotency key."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn

from tmr.api.sessions import (
    Consumption,
)
from tmr.ledger import (
    Consume,
    Consumed,
    Denied,
    Outcome,
)
from tmr.net.identity import Identity
from tmr.net.problem import ProblemError
from tmr.service.denials import DeniedRequest
from tmr.service.held_sessions import HeldSessions
from tmr.service.members import licence_members


class UnitService:
    """Requests of clients for units."""

    def __init__(self, held: HeldSessions) -> None:
        self.guard = held.guard
        self.command_log = held.command_log
        self.ledger = held.ledger
        self.view = held.view
        self._held = held

    def consume(
        self, peer: Identity, request_id: str, session: str, units: int
    ) -> Coroutine[Any, Any, Consumption]:
        """Take units, once for the same `request_id`. Asked of the journal as `grant` does."""
        mark = self.guard.check()
        if self.guard.deciding(peer, request_id):
            return self._consume_after(mark, peer, request_id, session, units)
        try:
            came = self._spend(peer, request_id, session, units)
        except ProblemError as refusal:
            return self._refused(mark, refusal)
        return self._consumed(mark, session, units, came)

    async def _refused(self, mark: float, refusal: ProblemError) -> NoReturn:
        """Raise what was found from memory, once it is proved."""
        async with self.guard.proving(mark):
            raise refusal

    async def _consume_after(
        self, mark: float, peer: Identity, request_id: str, session: str, units: int
    ) -> Consumption:
        async with self.guard.proving(mark):
            await self.guard.former(peer, request_id)
            came = self._spend(peer, request_id, session, units)
            return await self._consumed(mark, session, units, came)

    def _spend(
        self, peer: Identity, request_id: str, session: str, units: int
    ) -> Outcome | asyncio.Future[Outcome]:
        guard = self.guard
        command = Consume(request_id, peer.account, session, units)
        denied = self.ledger.review(command, self.command_log.certified_ms())
        known = self.ledger.remembered(peer.account, request_id)
        if known is not None:
            return denied or known.outcome
        guard.demand_time()
        held = self._held.own(peer, session)
        unusable = self._held.unusable(held.key, self.command_log.upstreams())
        if unusable is not None:
            raise unusable
        if denied is not None:
            guard.note(denied, DeniedRequest.by(held))
            return denied
        guard.demand_space()
        return guard.decide(command)

    async def _consumed(
        self, mark: float, session: str, units: int, came: Outcome | asyncio.Future[Outcome]
    ) -> Consumption:
        guard = self.guard
        outcome = await guard.outcome(came)
        await guard.proved(mark)
        if isinstance(outcome, Denied):
            ended = self.ledger.sessions.get(session)
            product = (0, 0) if ended is None else (ended.key.firm_code, ended.key.product_code)
            keys = () if ended is None else (ended.key,)
            guard.refuse(outcome, {"session": session, "units": units}, product, keys)
        assert isinstance(outcome, Consumed)  # noqa: S101
        return Consumption(
            session=session,
            **licence_members(outcome.key),
            units=outcome.units,
            remaining=outcome.remaining,
            epoch=self.command_log.epoch,
        )
