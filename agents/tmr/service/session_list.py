# SPDX-License-Identifier: Apache-2.0
"""Lists of sessions and of places in queues, page by page."""

from typing import Final

from tmr.api.fields import PAGE_MAX, AccessMode
from tmr.api.sessions import (
    HeldSession,
    QueuedRequest,
    SessionList,
)
from tmr.ledger import Session as Held
from tmr.ledger import (
    Waiter,
)
from tmr.licensing.spelling import instant
from tmr.net.identity import Identity
from tmr.runtime.turns import give_way
from tmr.service.held_sessions import HeldSessions
from tmr.service.members import session_members
from tmr.service.pagination import Cursor, Page

LIST_CHUNK: Final = 200
"""Sessions listed in one turn of the event loop."""


class SessionLister:
    """Requests for lists of sessions."""

    def __init__(self, held: HeldSessions) -> None:
        self.guard = held.guard
        self.command_log = held.command_log
        self.ledger = held.ledger
        self.view = held.view
        self._held = held

    async def page(self, peer: Identity, limit: int = PAGE_MAX, after: str | None = None) -> SessionList:
        """A page of the peer's sessions and places in queues; of all of them for an operator.

        Sessions first, the oldest first. Raises ProblemError.
        """
        mark = self.guard.check()
        ledger, now = self.ledger, self.command_log.clock()
        everybody = peer.role == "operator"
        sessions = ledger.sessions if everybody else ledger.sessions_of(peer.account)
        page = Page(limit, after)
        shown, queued = [], []
        for held in page.take("s", tuple(sessions.values()), _session_mark):
            shown.append(self._shown(now, held))
            if len(shown) % LIST_CHUNK == 0:
                await give_way()  # the lease must be renewed meanwhile
        waiters = [
            waiter
            for queue in ledger.queues.values()
            for waiter in queue.values()
            if everybody or waiter.grant.client == peer.account
        ]
        for waiter in page.take("q", sorted(waiters, key=_waiter_mark), _waiter_mark):
            queued.append(_queued(ledger.position(waiter.grant.session) or 1, waiter))
        await self.guard.proved(mark)
        return SessionList(sessions=tuple(shown), queue=tuple(queued), next=page.next)

    def _shown(self, now: float, held: Held) -> HeldSession:
        return HeldSession(
            **session_members(held),
            client=held.client,
            station=held.station,
            user=held.user,
            process=held.process,
            address=held.address,
            instance=held.instance,
            remaining_ms=self._held.liveness.remaining_ms(now, held.id),
        )


def _session_mark(held: Held) -> Cursor:
    return Cursor(held.granted_ms, held.id)


def _waiter_mark(waiter: Waiter) -> Cursor:
    return Cursor(waiter.since_ms, waiter.grant.session)


def _queued(position: int, waiter: Waiter) -> QueuedRequest:
    grant = waiter.grant
    return QueuedRequest(
        id=grant.session,
        client=grant.client,
        firm_code=grant.firm_code,
        product_code=grant.product_code,
        access_mode=AccessMode(grant.mode),
        position=position,
        since=instant(waiter.since_ms),
        station=grant.station,
        user=grant.user,
    )
