"""What the active twin does for clients: every answer is checked against the lease right before it leaves."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn

from tmr.client.models import (
    AccessMode,
    Container,
    Heartbeat,
    Heartbeats,
    HeldSession,
    Item,
    LicenceState,
    Session,
    SessionRequest,
    Unavailable,
)
from tmr.ledger import Denied, Free, Freed, Grant, Granted, Outcome
from tmr.ledger import Session as Held
from tmr.licensing import LicenceKey
from tmr.quorum.proposer import Applied, NotActive, Overloaded
from tmr.rim.identity import Identity
from tmr.rim.problem import Problem
from tmr.server.core import Core
from tmr.server.problems import problem
from tmr.server.sessions import Sessions
from tmr.server.virtual import MAJORITY, UpstreamState, VirtualContainer, instant, written

RETRY_AFTER: Final = 1
"""Seconds after which a client asks again, when the system cannot serve for a while."""
BREATH: Final = 500
"""Sessions listed at a stretch."""
EXPIRIES: Final = 500
"""Sessions that are sent to their end at a time."""


def session_id(now_ms: int) -> str:
    """A new session's id, 32 hexadecimal digits: Unix milliseconds, then randomness (ordered as UUIDv7)."""
    return f"{now_ms:012x}{secrets.token_hex(10)}"


class Service:
    """Requests of clients. `vip`: where to ask instead, while this twin does not serve."""

    def __init__(
        self,
        core: Core,
        virtual: VirtualContainer,
        vip: Sequence[str],
        *,
        wall_ms: Callable[[], int],
        fatal: Callable[[BaseException], None],
    ) -> None:
        self.core = core
        self.ledger = core.ledger
        self.virtual = virtual
        self.sessions = Sessions()
        self.leaving = ""
        """Why this twin is about to step down; empty while it is not."""
        self._vip = tuple(vip)
        self._wall_ms = wall_ms
        self._fatal = fatal
        self._ending: dict[str, asyncio.Task[Outcome]] = {}
        self._granting: dict[tuple[str, str], asyncio.Task[Outcome]] = {}

    # -- news from the journal -----------------------------------------------------------------------------

    def begin_reign(self, now: float) -> None:
        """Every session gets a fresh time to live: nobody knows whom the former active heard last."""
        self.sessions.begin_reign(now, ((held.id, held.ttl) for held in self.ledger.sessions.values()))

    def applied(self, now: float, applied: Applied) -> None:
        """Keep the heartbeat memory in step with the ledger."""
        match applied.outcome:
            case Granted(session=session, ttl=ttl) if session in self.ledger.sessions:
                self.sessions.granted(now, session, ttl)
            case Freed(session=session):
                self.sessions.ended(session)

    def expire(self, now: float) -> None:
        """Send to their end the sessions not heard in time. Only while this twin holds the lease."""
        if self.leaving:
            return
        for session in self.sessions.expired(now, EXPIRIES):
            self._end(Free(session, None, "expiry")).add_done_callback(self._expired)

    def _expired(self, task: asyncio.Task[Outcome]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, NotActive | Overloaded):  # those are tried again
            self._fatal(error)

    # -- whether to answer at all --------------------------------------------------------------------------

    def upstreams(self) -> tuple[UpstreamState, ...]:
        """The three as this twin sees them now."""
        return tuple(
            UpstreamState(
                name,
                peer.reachable,
                peer.member is not None and peer.member.voting,
                reach.since_ms,
                reach.error,
            )
            for name, peer, reach in zip(
                self.core.twin.upstreams, self.core.twin.peers, self.core.reach, strict=True
            )
        )

    def check(self, keys: Sequence[LicenceKey] | None = None) -> None:
        """Raise Problem no-quorum or not-active unless this twin takes requests. `keys`: asked about."""
        if not self.core.holds or self.leaving:
            self._not_serving(keys)

    def confirm(self, keys: Sequence[LicenceKey] | None = None) -> None:
        """Raise Problem as `check` does unless an answer may leave, also while stepping down."""
        if not self.core.holds:
            self._not_serving(keys)

    def _not_serving(self, keys: Sequence[LicenceKey] | None = None) -> NoReturn:
        upstreams = self.upstreams()
        heard = [upstream.name for upstream in upstreams if upstream.counts]
        if len(heard) >= MAJORITY or self.leaving:
            name = self.core.twin.owner.twin
            raise problem("not-active", f"{name} is not the active twin.", vip=self._vip)
        time_ms = self.core.certified_ms()
        unavailable = self.virtual.unavailable(upstreams, time_ms, keys or None)
        away = [upstream for upstream in upstreams if not upstream.counts]
        raise problem(
            "no-quorum",
            f"{len(heard)} of 3 upstreams can be reached ({', '.join(heard) or 'none'}), 2 are needed; "
            f"missing: {', '.join(upstream.name for upstream in away)}.",
            retry_after=RETRY_AFTER,
            constituents=[constituent for licence in unavailable for constituent in licence.constituents],
            unavailable=unavailable,
            vip=self._vip,
        )

    # -- sessions ------------------------------------------------------------------------------------------

    async def grant(self, peer: Identity, request_id: str, asked: SessionRequest) -> Session:
        """A session; the same one for the same `request_id`. Raises Problem."""
        keys = self.virtual.of_product(asked.firm_code, asked.product_code, asked.tmr_id)
        self.check(keys)
        former = self._granting.get((peer.name, request_id))
        if former is not None:  # a retry must not be refused while the first attempt may still be granted
            await asyncio.wait([former])
            self.confirm(keys)
        upstreams = self.upstreams()
        available = [key for key in keys if self.virtual.available(key, upstreams)]
        grant = Grant(
            request_id=request_id,
            client=peer.name,
            session=session_id(self._wall_ms()),
            firm_code=asked.firm_code,
            product_code=asked.product_code,
            keys=tuple(available),
            mode=asked.access_mode.value,
            ttl=asked.ttl,
            station=asked.station,
            user=asked.user,
            process=asked.process,
        )
        denied = self.ledger.review(grant, self.core.certified_ms())
        known = self.ledger.remembered(peer.name, request_id)
        outcome: Outcome
        if known is not None:
            outcome = denied or known[1]
        elif keys and not available:
            raise self._unavailable(keys, upstreams)
        else:
            outcome = denied or await self._outcome(self._submit(grant))
        if isinstance(outcome, Denied):
            self.confirm(keys)
            self._refuse(outcome, asked, keys)
        assert isinstance(outcome, Granted)  # noqa: S101
        held = await self._living(peer, outcome.session, "Repeat it with a new idempotency key.")
        self.confirm(keys)
        return Session(
            id=held.id,
            container=str(self.virtual.serial),
            firm_code=held.key.firm_code,
            product_code=held.key.product_code,
            tmr_id=held.key.tmr_id,
            access_mode=AccessMode(held.mode),
            ttl=held.ttl,
            granted_at=instant(held.granted_ms),
            in_use=outcome.in_use,
            quantity=outcome.quantity,
            epoch=self.core.twin.epoch,
        )

    async def heartbeat(self, peer: Identity, session: str) -> Heartbeat:
        """A fresh time to live. Raises Problem."""
        self.check()
        held = self._own(peer, session)
        unusable = self._unusable(held.key, self.upstreams())
        if unusable is not None:
            raise unusable
        held = await self._living(peer, session)
        self.confirm()
        return Heartbeat(id=held.id, ttl=held.ttl, epoch=self.core.twin.epoch)

    async def heartbeats(self, peer: Identity, sessions: Sequence[str]) -> Heartbeats:
        """A fresh time to live for each session held whose licence is available. Raises Problem."""
        self.check()
        alive, lost, unavailable = list[str](), list[str](), list[str]()
        upstreams = self.upstreams()
        licences: dict[LicenceKey, Problem | None] = {}
        for session in sessions:
            try:
                key = self._own(peer, session).key
                if key not in licences:
                    licences[key] = self._unusable(key, upstreams)
                unusable = licences[key]
                if unusable is not None:
                    raise unusable
                await self._living(peer, session)
            except Problem as refusal:
                (unavailable if refusal.status == 503 else lost).append(session)
            else:
                alive.append(session)
        self.confirm()
        return Heartbeats(alive=tuple(alive), lost=tuple(lost), unavailable=tuple(unavailable))

    async def release(self, peer: Identity, session: str) -> None:
        """End the session; one that has ended already is no error. Raises Problem."""
        self.check()
        held = self.ledger.sessions.get(session)
        if held is not None:
            operator = peer.role == "operator" and held.client != peer.name
            if not operator:
                self._own(peer, session)
            free = Free(session, None, "operator") if operator else Free(session, peer.name, "release")
            await self._outcome(asyncio.shield(self._end(free)))
        self.confirm()

    async def held(self, peer: Identity) -> list[HeldSession]:
        """The peer's sessions; all of them for an operator. Raises Problem."""
        self.check()
        now = self.core.clock()
        shown = []
        for number, held in enumerate(tuple(self.ledger.sessions.values())):
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)  # the lease must be renewed meanwhile
            if peer.role == "operator" or held.client == peer.name:
                shown.append(self._shown(now, held))
        self.confirm()
        return shown

    def _shown(self, now: float, held: Held) -> HeldSession:
        return HeldSession(
            id=held.id,
            client=held.client,
            firm_code=held.key.firm_code,
            product_code=held.key.product_code,
            tmr_id=held.key.tmr_id,
            access_mode=AccessMode(held.mode),
            ttl=held.ttl,
            granted_at=instant(held.granted_ms),
            station=held.station,
            user=held.user,
            process=held.process,
            remaining_ms=self.sessions.remaining_ms(now, held.id),
        )

    def _own(self, peer: Identity, session: str) -> Held:
        held = self.ledger.sessions.get(session)
        if held is None:
            raise problem("session-lost", f"There is no session {session}: it has ended or never was.")
        if held.client != peer.name:
            raise problem("access-denied", f"Session {session} belongs to another client.")
        return held

    def _unusable(self, key: LicenceKey, upstreams: Sequence[UpstreamState]) -> Problem | None:
        """Why a session on the licence is not kept alive: a held session needs its licence, too."""
        if not self.virtual.available(key, upstreams):
            return self._unavailable([key], upstreams)
        expiration_ms = self.ledger.licences[key].item.expiration_ms
        if expiration_ms is not None and self.core.certified_ms() >= expiration_ms:
            return problem("licence-expired", f"{key} was valid until {written(expiration_ms)}.")
        return None

    async def _living(self, peer: Identity, session: str, remedy: str | None = None) -> Held:
        """The session, heard just now. While its end is under way, nobody may say that it lives."""
        while True:
            held = self.ledger.sessions.get(session)
            if held is None or held.client != peer.name:
                raise problem("session-lost", f"Session {session} has ended.", remedy=remedy)
            if self.sessions.heartbeat(self.core.clock(), session) == "alive":
                return held
            ending = self._ending.get(session)
            if ending is None:
                self.confirm()
                raise problem("overloaded", "The session is just ending.", retry_after=RETRY_AFTER)
            await asyncio.wait([ending])
            self.confirm()

    # -- the journal ---------------------------------------------------------------------------------------

    async def _outcome(self, submitted: Awaitable[Outcome]) -> Outcome:
        try:
            return await submitted
        except NotActive:
            self._not_serving()
        except Overloaded:
            detail = "Too many commands wait to be stored by the upstreams."
            raise problem("overloaded", detail, retry_after=RETRY_AFTER) from None

    def _submit(self, grant: Grant) -> Awaitable[Outcome]:
        """Have the grant decided, also if whoever asked goes away."""
        request = (grant.client, grant.request_id)
        task = asyncio.get_running_loop().create_task(self.core.submit(grant))
        self._granting[request] = task

        def decided(_: asyncio.Task[Outcome]) -> None:
            if not task.cancelled():
                task.exception()  # whoever asked may have gone away
            if self._granting.get(request) is task:
                del self._granting[request]

        task.add_done_callback(decided)
        return asyncio.shield(task)

    def _end(self, free: Free) -> asyncio.Task[Outcome]:
        """Send the session to its end, once, whatever becomes of the request that asked for it."""
        task = self._ending.get(free.session)
        if task is None:
            self.sessions.ending(free.session)
            task = self._ending[free.session] = asyncio.get_running_loop().create_task(self._free(free))
        return task

    async def _free(self, free: Free) -> Outcome:
        try:
            return await self.core.submit(free)
        finally:
            del self._ending[free.session]
            self.sessions.kept(self.core.clock(), free.session)  # once freed, there is nothing to keep

    # -- refusals ------------------------------------------------------------------------------------------

    def _unavailable(self, keys: Sequence[LicenceKey], upstreams: Sequence[UpstreamState]) -> Problem:
        time_ms = self.core.certified_ms()
        unavailable = self.virtual.unavailable(upstreams, time_ms, keys)
        constituents = [constituent for licence in unavailable for constituent in licence.constituents]
        reasons = "; ".join(one.detail for one in constituents if one.state != "available")
        return problem(
            "licence-unavailable",
            f"Fewer than two constituents of {' or '.join(map(str, keys))} are available: {reasons}.",
            retry_after=RETRY_AFTER,
            constituents=constituents,
            unavailable=unavailable,
        )

    def _refuse(self, denied: Denied, asked: SessionRequest, keys: Sequence[LicenceKey]) -> NoReturn:
        upstreams, time_ms = self.upstreams(), self.core.certified_ms()
        slug, detail = denied.reason, denied.detail
        holders = self.virtual.holders(keys) if slug in ("no-more-licences", "exclusive-conflict") else ()
        if slug == "entry-not-found":
            which = "" if asked.tmr_id is None else f" with the TMR-Id {asked.tmr_id}"
            detail = (
                f"no licence {asked.firm_code}:{asked.product_code}{which} in container {self.virtual.serial}"
            )
        constituents = [
            constituent
            for key in keys
            for constituent in self.virtual.licence(key, upstreams, time_ms).constituents
        ]
        raise problem(
            slug,
            f"{detail[:1].upper()}{detail[1:]}.",
            retry_after=RETRY_AFTER if slug == "overloaded" else None,
            asked=asked.model_dump(mode="json", exclude_none=True),
            holders=holders,
            constituents=constituents,
        )

    # -- containers ----------------------------------------------------------------------------------------

    def container(self) -> Container:
        """The virtual container. Raises Problem."""
        self.check()
        container = self.virtual.container(self.upstreams(), self.core.certified_ms(), self.core.twin.epoch)
        self.confirm()
        return container

    def items(self, serial: str) -> tuple[list[Item], list[Unavailable]]:
        """What can be used, and what not and why. Raises Problem."""
        self.check()
        if serial != str(self.virtual.serial):
            raise problem(
                "entry-not-found",
                f"No container {serial} here; there is {self.virtual.serial}.",
                remedy="Ask `/v1/containers` for what there is.",
            )
        upstreams, time_ms = self.upstreams(), self.core.certified_ms()
        found = self.virtual.items(upstreams, time_ms), self.virtual.unavailable(upstreams, time_ms)
        self.confirm()
        return found

    def usable(self) -> int:
        """Number of licences that can be used now."""
        licences = self.virtual.licences(self.upstreams(), self.core.certified_ms())
        return sum(licence.state is LicenceState.AVAILABLE for licence in licences)
