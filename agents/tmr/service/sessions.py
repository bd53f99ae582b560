# SPDX-License-Identifier: Apache-2.0
"""Sessions of clients: grants and ends. Every answer is checked against the lease."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from tmr.api.sessions import (
    QueuePlace,
    Session,
    SessionRequest,
)
from tmr.ledger import (
    Denied,
    Free,
    Grant,
    Granted,
    Outcome,
    RecordDenials,
    Waiting,
)
from tmr.ledger import Session as Held
from tmr.licensing import LicenceKey
from tmr.licensing.spelling import instant, written_time
from tmr.net.identity import Identity
from tmr.quorum.outputs import NotActive, Overloaded
from tmr.service.guard import watch
from tmr.service.held_sessions import HeldSessions
from tmr.service.holders import next_end
from tmr.service.members import request_members, session_members
from tmr.service.problems import problem

EXPIRIES: Final = 500
"""Ends under way at which no further sessions are sent to theirs: releases by clients need room, too."""
IDLE_MS: Final = 3_600_000
"""An idle system writes an entry this often: after a power cut of all, so much time at most is unknown."""
SOON_MS: Final = 7 * 86_400_000
"""A licence that ends within this time is told of with the grant."""


def new_id(now_ms: int) -> str:
    """A new session's id, 32 hexadecimal digits: Unix milliseconds, then randomness (ordered as UUIDv7)."""
    return f"{now_ms:012x}{secrets.token_hex(10)}"


class SessionService:
    """Requests of clients for sessions. `fatal` ends the process: its state cannot be trusted."""

    def __init__(self, held: HeldSessions, *, fatal: Callable[[BaseException], None]) -> None:
        self.guard = held.guard
        self.command_log = held.command_log
        self.ledger = held.ledger
        self.view = held.view
        self._held = held
        self._fatal = fatal
        self._noting: asyncio.Task[None] | None = None

    # -- what is due by time -------------------------------------------------------------------------------

    def expire(self, now: float, time_ms: int) -> None:
        """Send to their end the sessions not heard in time, and refusals into the record."""
        for session in self._held.liveness.expired(now, max(0, EXPIRIES - len(self._held.ending))):
            watch(self._held.end(Free(session, None, self._held.reason(session))), self._fatal)
        late = time_ms - self.command_log.last_ms >= IDLE_MS
        self.write_refusals(now, at_once=late or self.ledger.ripe(time_ms))

    def write_refusals(self, now: float, *, at_once: bool = False) -> None:
        """Have refusals recorded that are due; `at_once`: write, though there may be none.

        Any command has queues looked at that time alone changed. Only while this server may write.
        """
        if self._noting is not None:
            return
        refusals = self.guard.denials.take(now, at_once=at_once)
        if refusals or at_once:
            self._noting = asyncio.get_running_loop().create_task(self._note(RecordDenials(refusals)))
            watch(self._noting, self._fatal)

    async def _note(self, note: RecordDenials) -> None:
        try:
            await self.command_log.submit(note)
        except (NotActive, Overloaded):
            self.guard.denials.put_back(note.denials)
        finally:
            self._noting = None

    # -- grants --------------------------------------------------------------------------------------------

    def grant(
        self, peer: Identity, address: str, request_id: str, asked: SessionRequest
    ) -> Coroutine[Any, Any, Session | QueuePlace]:
        """A session, or a place in the queue; the same one for the same `request_id`.

        Asked of the journal at once, unless an attempt of the same request is still being decided. Raises
        ProblemError, now or in the coroutine.
        """
        keys = self.view.of_product(asked.firm_code, asked.product_code, asked.tmr_id, asked.reference)
        mark = self.guard.check(keys)
        if self.guard.deciding(peer, request_id):
            return self._grant_after(mark, peer, address, request_id, asked, keys)
        came = self._ask(peer, address, request_id, asked, keys)
        return self._granted(mark, peer, request_id, asked, keys, came)

    async def _grant_after(
        self,
        mark: float,
        peer: Identity,
        address: str,
        request_id: str,
        asked: SessionRequest,
        keys: Sequence[LicenceKey],
    ) -> Session | QueuePlace:
        await self.guard.former(peer, request_id, keys)
        came = self._ask(peer, address, request_id, asked, keys)
        return await self._granted(mark, peer, request_id, asked, keys, came)

    def _ask(
        self, peer: Identity, address: str, request_id: str, asked: SessionRequest, keys: Sequence[LicenceKey]
    ) -> Outcome | asyncio.Future[Outcome]:
        guard = self.guard
        grant = Grant(
            **request_members(request_id, peer.account, address, asked, guard.available(keys)),
            session=new_id(guard.wall_ms()),
            mode=asked.access_mode.value,
            ttl=asked.ttl,
            process=asked.process,
            instance=asked.instance,
            units=asked.units,
            wait=asked.wait,
            only=(asked.tmr_id, asked.reference),
        )
        return guard.ask(grant, keys, lambda known: self._must_know(known, grant))

    async def _granted(
        self,
        mark: float,
        peer: Identity,
        request_id: str,
        asked: SessionRequest,
        keys: Sequence[LicenceKey],
        came: Outcome | asyncio.Future[Outcome],
    ) -> Session | QueuePlace:
        guard = self.guard
        async with guard.proving(mark, keys):
            outcome = await guard.outcome(came)
            if isinstance(outcome, Waiting):
                place = await self._living_place(peer, outcome, request_id)
                if isinstance(place, QueuePlace):
                    return place
                outcome = place
            if isinstance(outcome, Denied):
                guard.refuse_licence(outcome, asked, keys)
            assert isinstance(outcome, Granted)  # noqa: S101
            if not self.view.available(outcome.key, self.command_log.upstreams()):
                raise guard.unavailable([outcome.key], self.command_log.upstreams())
            held = await self._held.living(peer, outcome.session, "Repeat it with a new idempotency key.")
            return self._session(held, outcome)

    def _session(self, held: Held, granted: Granted) -> Session:
        return Session(
            **session_members(held),
            container=str(self.view.serial),
            in_use=granted.in_use,
            quantity=granted.quantity,
            epoch=self.command_log.epoch,
            ends_at=None if granted.ends_ms is None else instant(granted.ends_ms),
            units_remaining=granted.remaining,
            emergency=granted.emergency,
            warnings=tuple(self._warnings(granted)),
        )

    def _warnings(self, granted: Granted) -> list[str]:
        """Warnings for the user that need action."""
        ends = granted.ends_ms
        if granted.emergency:
            until = f" It can be used until {written_time(ends)}." if ends is not None else ""
            return [
                f"An emergency licence is in use, because no ordinary licence is free or valid.{until} "
                "Tell whoever looks after your licences."
            ]
        if ends is not None and ends - self.command_log.certified_ms() < SOON_MS:
            return [f"The licence ends {written_time(ends)}."]
        return []

    def _must_know(self, outcome: Outcome, grant: Grant) -> bool:
        """The journal must know: it will not wait any longer, or waits for other licences than before."""
        waiter = self._held.waiter(outcome.session) if isinstance(outcome, Waiting) else None
        return waiter is not None and (
            not grant.wait or (bool(grant.keys) and waiter.grant.keys != grant.keys)
        )

    async def _living_place(self, peer: Identity, waiting: Waiting, request_id: str) -> QueuePlace | Outcome:
        """The place in the queue, asked for just now; or what became of it meanwhile."""
        while True:
            waiter = self._held.waiter(waiting.session)
            if waiter is None:
                known = self.ledger.remembered(peer.account, request_id)
                if known is None:
                    raise problem("session-lost", f"The place {waiting.session} in the queue has ended.")
                return known.outcome
            if self._held.liveness.heartbeat(self.command_log.clock(), waiting.session) == "alive":
                grant = waiter.grant
                product = (grant.firm_code, grant.product_code)
                return QueuePlace(
                    id=waiting.session,
                    firm_code=grant.firm_code,
                    product_code=grant.product_code,
                    position=self.ledger.position(waiting.session) or 1,
                    waiting=len(self.ledger.queues[product]),
                    since=instant(waiter.since_ms),
                    ttl=grant.ttl,
                    next_end=next_end(self.ledger, grant.keys),
                    epoch=self.command_log.epoch,
                )
            await self._held.wait_for_end(waiting.session)

    # -- ends ----------------------------------------------------------------------------------------------

    def release(self, peer: Identity, session: str) -> Coroutine[Any, Any, None]:
        """End the session, or leave the queue, at once; one that has ended already is no error.

        Raises ProblemError, now or in the coroutine.
        """
        mark = self.guard.check()
        waiter, held = self._held.waiter(session), self.ledger.sessions.get(session)
        client = waiter.grant.client if waiter is not None else held.client if held is not None else None
        if client is None:
            return self._released(mark, None)
        if peer.role == "operator" and client != peer.account:
            free = Free(session, None, "operator", str(peer))
        elif client != peer.account:
            self._held.not_yours(session)
        else:
            free = Free(session, peer.account, "release")
        return self._released(mark, self._held.end(free))

    async def _released(self, mark: float, ending: asyncio.Future[Outcome] | None) -> None:
        if ending is not None:
            await self.guard.outcome(ending)
        await self.guard.proved(mark)
