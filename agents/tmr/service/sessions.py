"""Sessions of clients: grants, heartbeats, units, ends. Every answer is checked against the lease."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn

from tmr.api.fields import PAGE_MAX, AccessMode
from tmr.api.sessions import (
    Consumption,
    EndedBy,
    EndedSession,
    Heartbeat,
    Heartbeats,
    HeldSession,
    QueuedRequest,
    QueuePlace,
    Session,
    SessionList,
    SessionRequest,
)
from tmr.ledger import (
    Consume,
    Consumed,
    Denied,
    Free,
    Freed,
    Grant,
    Granted,
    Outcome,
    RecordDenials,
    Waiter,
    Waiting,
)
from tmr.ledger import Session as Held
from tmr.licensing import LicenceKey
from tmr.licensing.spelling import written_time
from tmr.net.identity import Identity
from tmr.net.problem import Problem
from tmr.quorum.outputs import NotActive, Overloaded
from tmr.runtime.turns import give_way
from tmr.service.container_view import UpstreamState, instant, milliseconds
from tmr.service.denials import DeniedRequest
from tmr.service.guard import RETRY_AFTER, RequestGuard, watch
from tmr.service.liveness import LivenessTable
from tmr.service.pagination import Cursor, Page
from tmr.service.problems import problem

BREATH: Final = 200
"""Sessions listed in one turn of the event loop."""
BEATS: Final = 100
"""Sessions kept alive in one turn of the event loop."""
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
    """Requests of clients about sessions. `fatal` ends the process: its state cannot be trusted."""

    def __init__(self, guard: RequestGuard, *, fatal: Callable[[BaseException], None]) -> None:
        self.guard = guard
        self.command_log = guard.command_log
        self.ledger = guard.ledger
        self.view = guard.view
        self.sessions = LivenessTable(guard.command_log.steady)
        self._fatal = fatal
        self._ending: dict[str, asyncio.Future[Outcome]] = {}
        self._noting: asyncio.Task[None] | None = None

    # -- news from the journal -----------------------------------------------------------------------------

    def begin_term(self, now: float) -> None:
        """Every session gets a fresh time to live: nobody knows whom the former active heard last."""
        held = [(held.id, held.ttl) for held in self.ledger.sessions.values()]
        waiting = [
            (place, waiter.grant.ttl)
            for queue in self.ledger.queues.values()
            for place, waiter in queue.items()
        ]
        self.sessions.begin_term(now, [*held, *waiting])

    def applied(self, now: float, outcome: Outcome) -> None:
        """A command was carried out: keep the heartbeat memory in step with the ledger."""
        match outcome:
            case Granted(session=session, ttl=ttl, replaced=replaced):
                if replaced:
                    self.sessions.ended(replaced)
                if session in self.ledger.sessions:
                    self.sessions.granted(now, session, ttl)
            case Waiting(session=session) if (waiter := self._waiter(session)) is not None:
                self.sessions.granted(now, session, waiter.grant.ttl)
            case Freed(session=session):
                self.sessions.ended(session)
        for granted in outcome.promoted:
            if granted.session in self.ledger.sessions:
                self.sessions.granted(now, granted.session, granted.ttl)

    def expire(self, now: float) -> None:
        """Send to their end the sessions not heard in time, and refusals into the record."""
        for session in self.sessions.expired(now, max(0, EXPIRIES - len(self._ending))):
            watch(self._end(Free(session, None, "expiry")), self._fatal)
        time_ms = self.command_log.certified_ms()
        late = time_ms - self.command_log.last_ms >= IDLE_MS
        self.write_refusals(now, at_once=late or self.ledger.ripe(time_ms))

    def write_refusals(self, now: float, *, at_once: bool = False) -> None:
        """Have refusals recorded that are due; `at_once`: write, though there may be none.

        Any command has queues looked at that time alone changed. Only while this server may write.
        """
        if self._noting is not None:
            return
        refusals = self.guard.refusals.take(now, at_once=at_once)
        if refusals or at_once:
            self._noting = asyncio.get_running_loop().create_task(self._note(RecordDenials(refusals)))
            watch(self._noting, self._fatal)

    async def _note(self, note: RecordDenials) -> None:
        try:
            await self.command_log.submit(note)
        except (NotActive, Overloaded):
            self.guard.refusals.put_back(note.refusals)
        finally:
            self._noting = None

    # -- grants --------------------------------------------------------------------------------------------

    def grant(
        self, peer: Identity, address: str, request_id: str, asked: SessionRequest
    ) -> Coroutine[Any, Any, Session | QueuePlace]:
        """A session, or a place in the queue; the same one for the same `request_id`.

        Asked of the journal at once, unless an attempt of the same request is still being decided. Raises
        Problem, now or in the coroutine.
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
            request_id=request_id,
            client=peer.account,
            session=new_id(guard.wall_ms()),
            firm_code=asked.firm_code,
            product_code=asked.product_code,
            keys=guard.available(keys),
            mode=asked.access_mode.value,
            ttl=asked.ttl,
            station=asked.station,
            user=asked.user,
            process=asked.process,
            address=address,
            instance=asked.instance,
            features=asked.features,
            released_ms=milliseconds(asked.released),
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
            held = await self._living(peer, outcome.session, "Repeat it with a new idempotency key.")
            return self._session(held, outcome)

    def _session(self, held: Held, granted: Granted) -> Session:
        return Session(
            id=held.id,
            container=str(self.view.serial),
            firm_code=held.key.firm_code,
            product_code=held.key.product_code,
            tmr_id=held.key.tmr_id,
            reference=held.key.reference,
            access_mode=AccessMode(held.mode),
            ttl=held.ttl,
            granted_at=instant(held.granted_ms),
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
        waiter = self._waiter(outcome.session) if isinstance(outcome, Waiting) else None
        return waiter is not None and (
            not grant.wait or (bool(grant.keys) and waiter.grant.keys != grant.keys)
        )

    def _waiter(self, place: str) -> Waiter | None:
        product = self.ledger.waiting.get(place)
        return None if product is None else self.ledger.queues[product].get(place)

    async def _living_place(self, peer: Identity, waiting: Waiting, request_id: str) -> QueuePlace | Outcome:
        """The place in the queue, asked for just now; or what became of it meanwhile."""
        while True:
            waiter = self._waiter(waiting.session)
            if waiter is None:
                known = self.ledger.remembered(peer.account, request_id)
                if known is None:
                    raise problem("session-lost", f"The place {waiting.session} in the queue has ended.")
                return known.outcome
            if self.sessions.heartbeat(self.command_log.clock(), waiting.session) == "alive":
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
                    next_end=self.view.next_end(grant.keys),
                    epoch=self.command_log.epoch,
                )
            await self._ended(waiting.session)

    # -- units ---------------------------------------------------------------------------------------------

    def consume(
        self, peer: Identity, request_id: str, session: str, units: int
    ) -> Coroutine[Any, Any, Consumption]:
        """Take units, once for the same `request_id`. Asked of the journal as `grant` does."""
        mark = self.guard.check()
        if self.guard.deciding(peer, request_id):
            return self._consume_after(mark, peer, request_id, session, units)
        try:
            came = self._spend(peer, request_id, session, units)
        except Problem as refusal:
            return self._refused(mark, refusal)
        return self._consumed(mark, session, units, came)

    async def _refused(self, mark: float, refusal: Problem) -> NoReturn:
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
        held = self._own(peer, session)
        unusable = self._unusable(held.key, self.command_log.upstreams())
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
            firm_code=outcome.key.firm_code,
            product_code=outcome.key.product_code,
            tmr_id=outcome.key.tmr_id,
            reference=outcome.key.reference,
            units=outcome.units,
            remaining=outcome.remaining,
            epoch=self.command_log.epoch,
        )

    # -- heartbeats ----------------------------------------------------------------------------------------

    async def heartbeat(self, peer: Identity, session: str) -> Heartbeat:
        """A fresh time to live. Raises Problem."""
        async with self.guard.proving(self.guard.check()):
            held = self._own(peer, session)
            unusable = self._unusable(held.key, self.command_log.upstreams())
            if unusable is not None:
                raise unusable
            held = await self._living(peer, session)
        return Heartbeat(id=held.id, ttl=held.ttl, epoch=self.command_log.epoch)

    async def heartbeats(self, peer: Identity, sessions: Sequence[str]) -> Heartbeats:
        """A fresh time to live for each session held whose licence is available. Raises Problem."""
        mark = self.guard.check()
        alive, lost, unavailable = list[str](), list[str](), list[str]()
        upstreams = self.command_log.upstreams()
        licences: dict[LicenceKey, Problem | None] = {}
        for number, session in enumerate(sessions, 1):
            if number % BEATS == 0:
                await give_way()  # the lease must be renewed meanwhile, and others heard
                upstreams, licences = self.command_log.upstreams(), {}
            held = self.ledger.sessions.get(session)
            if held is None or held.client != peer.account:
                lost.append(session)  # no problem document for each: that would take most of the time
                continue
            if held.key not in licences:
                licences[held.key] = self._unusable(held.key, upstreams)
            unusable = licences[held.key]
            if unusable is not None:
                (unavailable if unusable.status == 503 else lost).append(session)
                continue
            try:
                await self._living(peer, session)
            except Problem as refusal:
                (unavailable if refusal.status == 503 else lost).append(session)
            else:
                alive.append(session)
        await self.guard.proved(mark)
        ended = [one for session in lost if (one := self._how_ended(peer, session)) is not None]
        return Heartbeats(
            alive=tuple(alive), lost=tuple(lost), unavailable=tuple(unavailable), ended=tuple(ended)
        )

    # -- ends ----------------------------------------------------------------------------------------------

    def release(self, peer: Identity, session: str) -> Coroutine[Any, Any, None]:
        """End the session, or leave the queue, at once; one that has ended already is no error.

        Raises Problem, now or in the coroutine.
        """
        mark = self.guard.check()
        waiter, held = self._waiter(session), self.ledger.sessions.get(session)
        client = waiter.grant.client if waiter is not None else held.client if held is not None else None
        if client is None:
            return self._released(mark, None)
        if peer.role == "operator" and client != peer.account:
            free = Free(session, None, "operator", str(peer))
        elif client != peer.account:
            self._not_yours(session)
        else:
            free = Free(session, peer.account, "release")
        return self._released(mark, self._end(free))

    async def _released(self, mark: float, ending: asyncio.Future[Outcome] | None) -> None:
        if ending is not None:
            await self.guard.outcome(ending)
        await self.guard.proved(mark)

    # -- lists ---------------------------------------------------------------------------------------------

    async def held(self, peer: Identity, limit: int = PAGE_MAX, after: str | None = None) -> SessionList:
        """A page of the peer's sessions and places in queues; of all of them for an operator.

        Sessions first, the oldest first. Raises Problem.
        """
        mark = self.guard.check()
        ledger, now = self.ledger, self.command_log.clock()
        everybody = peer.role == "operator"
        sessions = ledger.sessions if everybody else ledger.sessions_of(peer.account)
        page = Page(limit, after)
        shown, queued = [], []
        for held in page.take("s", tuple(sessions.values()), _session_mark):
            shown.append(self._shown(now, held))
            if len(shown) % BREATH == 0:
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
            id=held.id,
            client=held.client,
            firm_code=held.key.firm_code,
            product_code=held.key.product_code,
            tmr_id=held.key.tmr_id,
            reference=held.key.reference,
            access_mode=AccessMode(held.mode),
            ttl=held.ttl,
            granted_at=instant(held.granted_ms),
            station=held.station,
            user=held.user,
            process=held.process,
            address=held.address,
            instance=held.instance,
            remaining_ms=self.sessions.remaining_ms(now, held.id),
        )

    # -- one session ---------------------------------------------------------------------------------------

    def _own(self, peer: Identity, session: str) -> Held:
        held = self.ledger.sessions.get(session)
        if held is None:
            raise self._lost(peer, session)
        if held.client != peer.account:
            self._not_yours(session)
        return held

    def _not_yours(self, session: str) -> NoReturn:
        raise problem("access-denied", f"Session {session} belongs to another client.")

    def _lost(self, peer: Identity, session: str, remedy: str | None = None) -> Problem:
        """The session has ended: how, as far as that is remembered."""
        ended = self._how_ended(peer, session)
        if ended is None:
            detail = f"There is no session {session}: it has ended or never was."
        else:
            how = {
                EndedBy.RELEASE: "it was released",
                EndedBy.EXPIRY: "it was not heard for its time to live",
                EndedBy.OPERATOR: f"{ended.who} ended it",
                EndedBy.REPLACED: f"the same instance asked again and got session {ended.who}",
            }[ended.by]
            detail = f"Session {session} ended {written_time(ended.at)}: {how}."
        return problem("session-lost", detail, remedy=remedy, ended=ended)

    def _how_ended(self, peer: Identity, session: str) -> EndedSession | None:
        ended = self.ledger.ended.get(session)
        if ended is None or (ended.client != peer.account and peer.role != "operator"):
            return None
        return EndedSession(id=session, by=EndedBy(ended.by), who=ended.who, at=instant(ended.time_ms))

    def _unusable(self, key: LicenceKey, upstreams: Sequence[UpstreamState]) -> Problem | None:
        """Reason why a session on the licence is not kept alive: a held session needs its licence, too."""
        if not self.view.available(key, upstreams):
            return self.guard.unavailable([key], upstreams)
        invalid = self.ledger.invalid(self.ledger.licences[key].item, self.command_log.certified_ms())
        if invalid is not None:
            return problem(invalid.reason, f"{invalid.detail[:1].upper()}{invalid.detail[1:]}.")
        return None

    async def _living(self, peer: Identity, session: str, remedy: str | None = None) -> Held:
        """The session, heard just now. While its end is under way, nobody may say that it lives."""
        while True:
            held = self.ledger.sessions.get(session)
            if held is None or held.client != peer.account:
                raise self._lost(peer, session, remedy)
            if self.sessions.heartbeat(self.command_log.clock(), session) == "alive":
                return held
            await self._ended(session)

    async def _ended(self, session: str) -> None:
        """Wait for the end that is under way. Raises Problem."""
        ending = self._ending.get(session)
        if ending is None:
            self.guard.confirm()
            raise problem("overloaded", "The session is just ending.", retry_after=RETRY_AFTER)
        await self.guard.decided(ending)
        self.guard.confirm()

    def _end(self, free: Free) -> asyncio.Future[Outcome]:
        """Send the session to its end, once, whatever becomes of the request that asked for it.

        It stays *ending* until the fate of the command is certain, however long that takes.
        """
        session = free.session
        submitted = self._ending.get(session)
        if submitted is None:
            self.sessions.ending(session)
            submitted = self._ending[session] = self.command_log.submit(free)

            def ended(_: asyncio.Future[Outcome]) -> None:
                del self._ending[session]
                self.sessions.kept(self.command_log.clock(), session)  # once freed, there is nothing to keep

            submitted.add_done_callback(ended)
        return submitted


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
