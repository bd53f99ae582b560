# SPDX-License-Identifier: Apache-2.0
"""Sessions that are held: the ledger's, with the memory of their heartbeats and of the ends under way."""

import asyncio
from collections.abc import Sequence
from typing import NoReturn

from tmr.api.sessions import (
    EndedBy,
    EndedSession,
)
from tmr.ledger import (
    Free,
    Freed,
    FreedBy,
    Granted,
    LicenceEnd,
    Outcome,
    Waiter,
    Waiting,
)
from tmr.ledger import Session as Held
from tmr.licensing import LicenceKey
from tmr.licensing.spelling import instant, written_time
from tmr.net.identity import Identity
from tmr.net.problem import ProblemError
from tmr.service.container_view import UpstreamState
from tmr.service.guard import RETRY_AFTER, RequestGuard
from tmr.service.liveness import LivenessTable
from tmr.service.problems import problem


class HeldSessions:
    """The sessions of one server. `ending`: ends under way, by session."""

    def __init__(self, guard: RequestGuard) -> None:
        self.guard = guard
        self.command_log = guard.command_log
        self.ledger = guard.ledger
        self.view = guard.view
        self.liveness = LivenessTable(guard.command_log.steady)
        self.ending: dict[str, asyncio.Future[Outcome]] = {}

    def begin_term(self, now: float) -> None:
        """Every session gets a fresh time to live: the former active twin alone knew the heartbeats."""
        held = [(held.id, held.ttl) for held in self.ledger.sessions.values()]
        waiting = [
            (place, waiter.grant.ttl)
            for queue in self.ledger.queues.values()
            for place, waiter in queue.items()
        ]
        self.liveness.begin_term(now, [*held, *waiting])

    def applied(self, now: float, outcome: Outcome) -> None:
        """A command was carried out: keep the heartbeat memory in step with the ledger."""
        match outcome:
            case Granted(session=session, ttl=ttl, replaced=replaced):
                if replaced:
                    self.liveness.ended(replaced)
                if session in self.ledger.sessions:
                    self.liveness.granted(now, session, ttl)
            case Waiting(session=session) if (waiter := self.waiter(session)) is not None:
                self.liveness.granted(now, session, waiter.grant.ttl)
            case Freed(session=session):
                self.liveness.ended(session)
        for granted in outcome.promoted:
            if granted.session in self.ledger.sessions:
                self.liveness.granted(now, granted.session, granted.ttl)

    def waiter(self, place: str) -> Waiter | None:
        """The place in a queue; None: there is none."""
        product = self.ledger.waiting.get(place)
        return None if product is None else self.ledger.queues[product].get(place)

    # -- one session ---------------------------------------------------------------------------------------

    def own(self, peer: Identity, session: str) -> Held:
        """The session, which must be the peer\'s. Raises ProblemError."""
        held = self.ledger.sessions.get(session)
        if held is None:
            raise self.lost(peer, session)
        if held.client != peer.account:
            self.not_yours(session)
        return held

    def not_yours(self, session: str) -> NoReturn:
        """Refuse a session of another client. Raises ProblemError access-denied."""
        raise problem("access-denied", f"Session {session} belongs to another client.")

    def lost(self, peer: Identity, session: str, remedy: str | None = None) -> ProblemError:
        """The session has ended: how, as far as that is remembered."""
        ended = self.how_ended(peer, session)
        if ended is None:
            detail = f"There is no session {session}: it has ended or never was."
        else:
            how = {
                EndedBy.RELEASE: "it was released",
                EndedBy.EXPIRY: "it was not heard for its time to live",
                EndedBy.OPERATOR: f"{ended.who} ended it",
                EndedBy.REPLACED: f"the same instance asked again and got session {ended.who}",
                EndedBy.LICENCE_EXPIRED: "its licence had expired",
                EndedBy.LICENCE_NOT_ACTIVE: "its licence is not valid yet",
                EndedBy.LICENCE_REMOVED: "its licence was removed by an update of the vendor",
                EndedBy.LICENCE_UNAVAILABLE: "too few constituents of its licence were available",
            }[ended.by]
            detail = f"Session {session} ended {written_time(ended.at)}: {how}."
        return problem("session-lost", detail, remedy=remedy, ended=ended)

    def how_ended(self, peer: Identity, session: str) -> EndedSession | None:
        """End of a session of the peer, as far as that is remembered."""
        ended = self.ledger.ended.get(session)
        if ended is None or (ended.client != peer.account and peer.role != "operator"):
            return None
        return EndedSession(id=session, by=EndedBy(ended.by), who=ended.who, at=instant(ended.time_ms))

    def unavailable(self, key: LicenceKey, upstreams: Sequence[UpstreamState]) -> ProblemError | None:
        """Reason why a session on the licence is not kept alive for now; None: its constituents are there."""
        return None if self.view.available(key, upstreams) else self.guard.unavailable([key], upstreams)

    def over(self, key: LicenceKey) -> tuple[LicenceEnd, str] | None:
        """Reason why sessions on an available licence end now, and the same in words; None: they do not."""
        invalid = self.ledger.invalid(self.ledger.licences[key].item, self.command_log.certified_ms())
        if invalid is None:
            return None
        by: LicenceEnd = "licence-expired" if invalid.reason == "licence-expired" else "licence-not-active"
        return by, f"{invalid.detail[:1].upper()}{invalid.detail[1:]}."

    def unusable(self, key: LicenceKey, upstreams: Sequence[UpstreamState]) -> ProblemError | None:
        """Reason why a session can do nothing with its licence: it is unavailable, or over."""
        if unavailable := self.unavailable(key, upstreams):
            return unavailable
        over = self.over(key)
        return None if over is None else problem(*over)

    def reason(self, session: str) -> FreedBy | LicenceEnd:
        """Reason why a session whose time to live is over ends: it was not heard, or was refused."""
        held = self.ledger.sessions.get(session)
        if held is None or not self.liveness.refused(session):
            return "expiry"
        known = held.key in self.ledger.licences or any(
            incomplete.key == held.key for incomplete in self.ledger.merged.incomplete
        )
        return "licence-unavailable" if known else "licence-removed"

    async def living(self, peer: Identity, session: str, remedy: str | None = None) -> Held:
        """The session, heard just now. While its end is under way, no answer may say that it lives."""
        while True:
            held = self.ledger.sessions.get(session)
            if held is None or held.client != peer.account:
                raise self.lost(peer, session, remedy)
            if self.liveness.heartbeat(self.command_log.clock(), session) == "alive":
                return held
            await self.wait_for_end(session)

    async def wait_for_end(self, session: str) -> None:
        """Wait for the end that is under way. Raises ProblemError."""
        ending = self.ending.get(session)
        if ending is None:
            self.guard.confirm()
            raise problem("overloaded", "The session is just ending.", retry_after=RETRY_AFTER)
        await self.guard.decided(ending)
        self.guard.confirm()

    def end(self, free: Free) -> asyncio.Future[Outcome]:
        """Send the session to its end, once, whatever becomes of the request that asked for it.

        It stays *ending* until the fate of the command is certain, however long that takes.
        """
        session = free.session
        submitted = self.ending.get(session)
        if submitted is None:
            self.liveness.ending(session)
            submitted = self.ending[session] = self.command_log.submit(free)

            def ended(_: asyncio.Future[Outcome]) -> None:
                del self.ending[session]
                self.liveness.kept(self.command_log.clock(), session)  # once freed, there is nothing to keep

            submitted.add_done_callback(ended)
        return submitted
