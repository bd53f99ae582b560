# SPDX-License-Identifier: Apache-2.0
"""Heartbeats of clients: a fresh time to live for a session, or for many."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from tmr.api.sessions import (
    Heartbeat,
    Heartbeats,
)
from tmr.ledger import Free, LicenceEnd, Outcome
from tmr.licensing import LicenceKey
from tmr.net.identity import Identity
from tmr.net.problem import ProblemError
from tmr.runtime.turns import give_way
from tmr.service.container_view import UpstreamState
from tmr.service.held_sessions import HeldSessions
from tmr.service.problems import problem

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
        """A fresh time to live. Raises ProblemError; a session whose licence is over has then ended."""
        async with self.guard.proving(self.guard.check()):
            held = self._held.own(peer, session)
            unavailable = self._held.unavailable(held.key, self.command_log.upstreams())
            if unavailable is not None:
                self._held.liveness.refuse(session)
                raise unavailable
            if over := self._held.over(held.key):
                await self.guard.decided(self._held.end(Free(session, None, over[0])))
                raise problem(*over, ended=self._held.how_ended(peer, session))
            held = await self._held.living(peer, session)
        return Heartbeat(id=held.id, ttl=held.ttl, epoch=self.command_log.epoch)

    async def heartbeats(self, peer: Identity, sessions: Sequence[str]) -> Heartbeats:
        """A fresh time to live for each session held whose licence is available. Raises ProblemError.

        Sessions whose licence is over end with that, and are told so.
        """
        mark, account = self.guard.check(), peer.account
        alive, lost, unavailable = list[str](), list[str](), list[str]()
        ending: dict[str, asyncio.Future[Outcome]] = {}
        upstreams, now = self.command_log.upstreams(), self.command_log.clock()
        licences: dict[LicenceKey, bool | LicenceEnd] = {}
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
                licences[held.key] = self._usable(held.key, upstreams)
            usable = licences[held.key]
            if usable is False:
                self._held.liveness.refuse(session)
                unavailable.append(session)
            elif usable is not True:
                ending[session] = self._held.end(Free(session, None, usable))
            elif self._held.liveness.heartbeat(now, session) == "alive":
                alive.append(session)
            else:
                try:
                    await self._held.living(peer, session)  # its end may be under way
                except ProblemError as refusal:
                    (unavailable if refusal.status == 503 else lost).append(session)
                else:
                    alive.append(session)
                now = self.command_log.clock()
        for session, end in ending.items():
            with contextlib.suppress(ProblemError):
                await self.guard.decided(end)
            (unavailable if session in self.ledger.sessions else lost).append(session)
        await self.guard.proved(mark)
        ended = [one for session in lost if (one := self._held.how_ended(peer, session)) is not None]
        return Heartbeats(
            alive=tuple(alive), lost=tuple(lost), unavailable=tuple(unavailable), ended=tuple(ended)
        )

    def _usable(self, key: LicenceKey, upstreams: Sequence[UpstreamState]) -> bool | LicenceEnd:
        """True: sessions on the licence are kept alive; False: they are not for now; else how they end."""
        if not self.view.available(key, upstreams):
            return False
        over = self._held.over(key)
        return True if over is None else over[0]
