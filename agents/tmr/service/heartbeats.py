# SPDX-License-Identifier: Apache-2.0
"""Heartbeats of clients: a fresh time to live for a session, or for many."""

from collections.abc import Sequence
from typing import Final

from tmr.api.sessions import (
    Heartbeat,
    Heartbeats,
)
from tmr.licensing import LicenceKey
from tmr.net.identity import Identity
from tmr.net.problem import ProblemError
from tmr.runtime.turns import give_way
from tmr.service.held_sessions import HeldSessions

BEATS: Final = 100
"""Sessions kept alive in one turn of the event loop."""


class HeartbeatService:
    """Requests of clients to keep sessions alive."""

    def __init__(self, held: HeldSessions) -> None:
        self.guard = held.guard
        self.command_log = held.command_log
        self.ledger = held.ledger
        self.view = held.view
        self._held = held

    async def heartbeat(self, peer: Identity, session: str) -> Heartbeat:
        """A fresh time to live. Raises ProblemError."""
        async with self.guard.proving(self.guard.check()):
            held = self._held.own(peer, session)
            unusable = self._held.unusable(held.key, self.command_log.upstreams())
            if unusable is not None:
                raise unusable
            held = await self._held.living(peer, session)
        return Heartbeat(id=held.id, ttl=held.ttl, epoch=self.command_log.epoch)

    async def heartbeats(self, peer: Identity, sessions: Sequence[str]) -> Heartbeats:
        """A fresh time to live for each session held whose licence is available. Raises ProblemError."""
        mark, account = self.guard.check(), peer.account
        alive, lost, unavailable = list[str](), list[str](), list[str]()
        upstreams, now = self.command_log.upstreams(), self.command_log.clock()
        licences: dict[LicenceKey, ProblemError | None] = {}
        for number, session in enumerate(sessions, 1):
            if number % BEATS == 0:
                await give_way()  # the lease must be renewed meanwhile, and others heard
                upstreams, licences = self.command_log.upstreams(), {}
                now = self.command_log.clock()
            held = self.ledger.sessions.get(session)
            if held is None or held.client != account:
                lost.append(session)  # no problem document for each: that would take most of the time
                continue
            if held.key not in licences:
                licences[held.key] = self._held.unusable(held.key, upstreams)
            unusable = licences[held.key]
            if unusable is not None:
                (unavailable if unusable.status == 503 else lost).append(session)
                continue
            if self._held.liveness.heartbeat(now, session) == "alive":
                alive.append(session)
                continue
            try:
                await self._held.living(peer, session)  # its end may be under way
            except ProblemError as refusal:
                (unavailable if refusal.status == 503 else lost).append(session)
            else:
                alive.append(session)
            now = self.command_log.clock()
        await self.guard.proved(mark)
        ended = [one for session in lost if (one := self._held.how_ended(peer, session)) is not None]
        return Heartbeats(
            alive=tuple(alive), lost=tuple(lost), unavailable=tuple(unavailable), ended=tuple(ended)
        )
