# SPDX-License-Identifier: Apache-2.0
"""The guard of every request: readiness of this server, the way into the journal, refusals explained."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, NoReturn, Protocol

from tmr.api.borrowing import BorrowRequest
from tmr.api.sessions import SessionRequest
from tmr.ledger import Borrow, Command, Denied, Grant, Ledger, Outcome, Request
from tmr.licensing import LicenceKey
from tmr.licensing.redundancy import MAJORITY
from tmr.licensing.spelling import exact_period, written_time
from tmr.net.identity import Identity
from tmr.net.problem import ProblemError
from tmr.quorum.outputs import NotActive, Overloaded
from tmr.quorum.steady_clock import SteadyClock
from tmr.service.container_view import ContainerView, UpstreamState
from tmr.service.denials import DenialCounter, DeniedRequest
from tmr.service.holders import holders, next_end
from tmr.service.in_flight import Undecided
from tmr.service.problems import problem

RETRY_AFTER: Final = 1
"""Seconds after which a client asks again, when the system cannot serve for a while."""
LIMIT_RETRY_AFTER: Final = 5
"""… when an operator must act first: there are as many sessions as there can be, or the disks are full."""
UNAVAILABLE: Final = 503
_SEATS: Final = frozenset({"no-more-licences", "exclusive-conflict", "borrow-failed"})
"""Problems that another's use is the reason of."""


class CommandLog(Protocol):
    """Log that decides and stores commands: twin and upstreams, or the journal of a single server."""

    ledger: Ledger
    clock: Callable[[], float]
    """Seconds, monotonic."""
    steady: SteadyClock
    """The same, as slow as other clocks show: for sessions."""

    @property
    def name(self) -> str:
        """Name of this server."""

    @property
    def epoch(self) -> int:
        """The term that answers are given in."""

    @property
    def holds(self) -> bool:
        """This server may answer a client at this very moment."""

    @property
    def pending(self) -> int:
        """Commands that are not committed yet."""

    @property
    def oldest(self) -> float:
        """Seconds that the first of them has waited; 0: there is none."""

    def certified_ms(self) -> int:
        """Certified time now, Unix milliseconds."""

    @property
    def last_ms(self) -> int:
        """Time of the journal's last entry, Unix milliseconds; 0: there is none."""

    @property
    def time_waits(self) -> int | None:
        """Time that the clocks show, if certified time does not follow them; as of its last reading."""

    def accept_time(self, time_ms: int) -> bool:
        """Certified time goes on from what the clocks show, if that waits and is near `time_ms`."""

    def upstreams(self) -> tuple[UpstreamState, ...]:
        """The servers that hold the containers, as they are now."""

    def submit(self, command: Command) -> asyncio.Future[Outcome]:
        """Store and apply the command. The future has its result: done when that is certain, however late.

        It fails with Overloaded (not done) or NotActive (the term ended first, and the next one decides it
        before it serves). No caller has to hear of a failure.
        """

    def read_mark(self) -> float:
        """The mark of a request that came in just now, for `confirmed`."""

    async def confirmed(self, mark: float) -> None:
        """Wait until it is certain that no other twin had decided anything by `mark`. Raises NotActive."""

    def answer(self, decision: asyncio.Future[Outcome]) -> asyncio.Future[Outcome]:
        """Answer for a client to a submitted command: its fate, or Undecided when it has waited too long."""


def fail(outcome: asyncio.Future[Outcome], error: Exception) -> None:
    """A command was not carried out, or its outcome is unknown."""
    if not outcome.done():
        outcome.set_exception(error)
        outcome.exception()  # whoever asked may have gone away: a failure that nobody hears is no mistake


def watch(task: asyncio.Future[Any], fatal: Callable[[BaseException], None]) -> None:
    """Have it told to `fatal` if a command that this server itself submits goes wrong.

    One that was not stored is no such case: it is tried again when its time comes again.
    """

    def ended(_: object) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, NotActive | Overloaded):
            fatal(error)

    task.add_done_callback(ended)


class RequestGuard:
    """Every answer is checked against the lease right before it leaves. `vip`: where to ask instead."""

    def __init__(
        self, command_log: CommandLog, view: ContainerView, vip: Sequence[str], wall_ms: Callable[[], int]
    ) -> None:
        self.command_log = command_log
        self.ledger = command_log.ledger
        self.view = view
        self.wall_ms = wall_ms
        self.leaving = ""
        """Reason why this server is about to step down; empty while it is not."""
        self.nobody: Callable[[], str] = lambda: ""
        """Reason why no server serves at all; empty: another one does."""
        self.denials = DenialCounter()
        self._vip = tuple(vip)
        self._deciding: dict[tuple[str, str], asyncio.Future[Outcome]] = {}

    # -- whether to answer ---------------------------------------------------------------------------------

    def check(self, keys: Sequence[LicenceKey] | None = None) -> float:
        """Raise ProblemError no-quorum or not-active unless requests are taken. `keys`: asked about.

        Returns the mark of the request: its answer may leave once that is `proved`.
        """
        if not self.command_log.holds or self.leaving:
            self._not_serving(keys)
        return self.command_log.read_mark()

    def confirm(self, keys: Sequence[LicenceKey] | None = None) -> None:
        """Raise ProblemError as `check` does unless an answer may leave, also while stepping down."""
        if not self.command_log.holds:
            self._not_serving(keys)

    async def proved(self, mark: float, keys: Sequence[LicenceKey] | None = None) -> None:
        """Wait until an answer from this server's memory may leave. Raises ProblemError as `confirm` does.

        The clock by which the lease is counted stands still while the host pauses this machine. So a
        majority must have confirmed the term after the request came in.
        """
        try:
            await self.command_log.confirmed(mark)
        except NotActive:
            self._not_serving(keys)
        self.confirm(keys)

    @contextlib.asynccontextmanager
    async def proving(self, mark: float, keys: Sequence[LicenceKey] | None = None) -> AsyncIterator[None]:
        """Have what the block finds `proved` after it, a ProblemError that it raises as well."""
        try:
            yield
        except ProblemError as refusal:
            if refusal.status != UNAVAILABLE:  # that says nothing about what is held
                await self.proved(mark, keys)
            raise
        await self.proved(mark, keys)

    def _not_serving(self, keys: Sequence[LicenceKey] | None = None) -> NoReturn:
        if self.view.deployment.replicas == 1:
            raise problem(
                "not-active",
                f"{self.command_log.name} does not serve: "
                f"{self.leaving or 'it is starting or its store failed'}.",
                remedy="Ask again in a moment; if it repeats, look why: journalctl -u tmr-upstream",
                retry_after=RETRY_AFTER,
            )
        upstreams = self.command_log.upstreams()
        heard = [upstream.name for upstream in upstreams if upstream.counts]
        if len(heard) >= MAJORITY and not self.leaving and (nobody := self.nobody()):
            raise problem(
                "not-active",
                f"{self.command_log.name} is not the active twin: {nobody}.",
                remedy="Ask again in a moment; if it repeats, have an operator look at `tmr status`.",
                retry_after=RETRY_AFTER,
                vip=self._vip,
            )
        if len(heard) >= MAJORITY or self.leaving:
            raise problem("not-active", f"{self.command_log.name} is not the active twin.", vip=self._vip)
        unavailable = self.view.unavailable(upstreams, self.command_log.certified_ms(), keys or None)
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

    def demand_space(self) -> None:
        """Raise ProblemError storage-full where hardly anything new can be stored."""
        if short := self.view.short(self.command_log.upstreams()):
            raise problem(
                "storage-full",
                f"Little disk space is left on {' and '.join(short)}: what is held is kept and can be given "
                "back, nothing new is stored.",
                retry_after=LIMIT_RETRY_AFTER,
            )

    def demand_time(self) -> None:
        """Raise ProblemError time-in-doubt where it is not known what time it is: nothing new is decided."""
        time_ms = self.command_log.certified_ms()
        if (shown := self.command_log.time_waits) is not None:
            raise problem(
                "time-in-doubt",
                f"The clocks show {written_time(shown)}, the journal goes on at {written_time(time_ms)}, and "
                "no time source has confirmed that so much time has passed: what is held is kept and can be "
                "given back, nothing new is decided.",
                retry_after=LIMIT_RETRY_AFTER,
            )

    # -- the journal ---------------------------------------------------------------------------------------

    async def outcome(self, asked: Outcome | asyncio.Future[Outcome]) -> Outcome:
        """Outcome of a command, also if the client goes away. Raises ProblemError where that is not known."""
        if not isinstance(asked, asyncio.Future):
            return asked
        try:
            return asked.result() if asked.done() else await self.command_log.answer(asked)
        except Undecided:
            self._undecided()
        except NotActive:
            self._not_serving()
        except Overloaded:
            detail = "Too many commands wait to be stored."
            raise problem("overloaded", detail, retry_after=RETRY_AFTER) from None

    async def decided(self, decision: asyncio.Future[Outcome]) -> None:
        """Wait until the fate of a command is certain. Raises ProblemError if it stays open."""
        try:
            await self.command_log.answer(decision)
        except Undecided:
            self._undecided()
        except (NotActive, Overloaded):
            pass

    def _undecided(self) -> NoReturn:
        """The client has waited long enough. What it asked for is still on its way."""
        raise problem(
            "not-active",
            f"{self.command_log.name} could not store this in time; it is not known yet whether it will be.",
            remedy="Repeat the request with the same idempotency key.",
            retry_after=RETRY_AFTER,
            vip=self._vip,
        )

    def deciding(self, peer: Identity, request_id: str) -> bool:
        """An attempt of the same request is still being decided."""
        return (peer.account, request_id) in self._deciding

    async def former(self, peer: Identity, request_id: str, keys: Sequence[LicenceKey] = ()) -> None:
        """Wait for an attempt of the same request that is still being decided. Raises ProblemError."""
        former = self._deciding.get((peer.account, request_id))
        if former is not None:  # a retry must not be refused while the first attempt may still be granted
            await self.decided(former)
            self.confirm(keys)

    def available(self, keys: Sequence[LicenceKey]) -> tuple[LicenceKey, ...]:
        """Those of the licences that can be used as far as their constituents go."""
        upstreams = self.command_log.upstreams()
        return tuple(key for key in keys if self.view.available(key, upstreams))

    def ask(
        self,
        request: Grant | Borrow,
        keys: Sequence[LicenceKey],
        again: Callable[[Outcome], bool] = lambda _: False,
    ) -> Outcome | asyncio.Future[Outcome]:
        """Outcome of the request: that of an earlier attempt, or what the mirror says, or what the journal
        will.

        `keys`: the licences that it may mean, available or not. `again(outcome)`: the journal must hear a
        request once more that had this outcome. Raises ProblemError.
        """
        denied = self.ledger.review(request, self.command_log.certified_ms())
        known = self.ledger.remembered(request.client, request.request_id)
        if known is not None:
            if denied is not None or not again(known.outcome):
                return denied or known.outcome
            self.demand_time()
            return self.decide(request)
        self.demand_time()
        if keys and not request.keys:
            self.note(Denied("licence-unavailable", ""), DeniedRequest.by(request))
            raise self.unavailable(keys, self.command_log.upstreams())
        if denied is not None:
            self.note(denied, DeniedRequest.by(request))
            return denied
        self.demand_space()
        return self.decide(request)

    def decide(self, request: Request) -> asyncio.Future[Outcome]:
        """Have the request decided by the journal."""
        name = (request.client, request.request_id)
        submitted = self._deciding[name] = self.command_log.submit(request)

        def decided(_: asyncio.Future[Outcome]) -> None:
            if self._deciding.get(name) is submitted:
                del self._deciding[name]

        submitted.add_done_callback(decided)
        return submitted

    # -- refusals ------------------------------------------------------------------------------------------

    def note(self, denied: Denied, refused: DeniedRequest) -> None:
        """Have a refusal that did not go through the journal recorded, if there is space."""
        if self.ledger.keeps_record(refused.firm_code) and not self.view.short(self.command_log.upstreams()):
            self.denials.add(refused, denied.reason, denied.rule)

    def unavailable(self, keys: Sequence[LicenceKey], upstreams: Sequence[UpstreamState]) -> ProblemError:
        """Fewer than two constituents of the licences are available."""
        unavailable = self.view.unavailable(upstreams, self.command_log.certified_ms(), keys)
        constituents = [constituent for licence in unavailable for constituent in licence.constituents]
        reasons = "; ".join(one.detail for one in constituents if one.state != "available")
        return problem(
            "licence-unavailable",
            f"Too few constituents of {' or '.join(map(str, keys))} are available: {reasons}.",
            retry_after=RETRY_AFTER,
            constituents=constituents,
            unavailable=unavailable,
        )

    def refuse_licence(
        self, denied: Denied, asked: SessionRequest | BorrowRequest, keys: Sequence[LicenceKey]
    ) -> NoReturn:
        """Raise the problem that belongs to `denied`, the answer to a request for a licence."""
        given = asked.model_dump(mode="json", exclude_none=True)
        self.refuse(denied, given, (asked.firm_code, asked.product_code), keys)

    def refuse(
        self, denied: Denied, asked: dict[str, Any], product: tuple[int, int], keys: Sequence[LicenceKey]
    ) -> NoReturn:
        """Raise the problem that belongs to `denied`: what is available where, who holds the seats."""
        upstreams, time_ms = self.command_log.upstreams(), self.command_log.certified_ms()
        slug: str = denied.reason
        detail = denied.detail
        if slug == "entry-not-found":
            which = "".join(
                f" with the {what} {asked[name]}"
                for name, what in (("tmr_id", "TMR-Id"), ("reference", "reference"))
                if asked.get(name) is not None
            )
            detail = f"no licence {product[0]}:{product[1]}{which} in container {self.view.serial}"
            if self._constituents_only(product, asked):
                slug = "tmr-id-outside-tmr"
                name, server = self.command_log.name, self.view.deployment.server
                detail = f"{name} is {server}, and holds of it a constituent only"
        seats = slug in _SEATS or bool(denied.rule)
        waiting = len(self.ledger.queues.get(product, ()))
        raise problem(
            slug,
            f"{detail[:1].upper()}{detail[1:]}.",
            remedy=self._borrow_remedy(asked, keys) if slug == "borrow-failed" else "",
            retry_after=LIMIT_RETRY_AFTER if slug == "overloaded" else None,
            asked=asked,
            rule=denied.rule,
            holders=holders(self.ledger, keys) if seats else (),
            next_end=next_end(self.ledger, keys) if seats else None,
            waiting=waiting or None,
            constituents=[
                constituent
                for key in keys
                for constituent in self.view.licence(key, upstreams, time_ms).constituents
            ],
        )

    def _borrow_remedy(self, asked: dict[str, Any], keys: Sequence[LicenceKey]) -> str:
        """Remedy that can help with a licence that could not be borrowed; empty: that of the table."""
        items = [self.ledger.licences[key].item for key in keys if key in self.ledger.licences]
        longest = max((item.borrow_s for item in items if item.borrow_s is not None), default=None)
        if longest is None:
            return "Use it in the network, or ask the vendor for a licence that can be borrowed."
        if asked.get("seconds", 0) > longest:
            return f"Borrow for {exact_period(longest)} at most, or ask the vendor."
        return "Wait until a borrowed seat comes back, or ask the vendor."

    def _constituents_only(self, product: tuple[int, int], asked: dict[str, Any]) -> bool:
        """A request that finds nothing may be about a licence of a TMR system."""
        return any(asked.get("tmr_id") in (None, key.tmr_id) for key in self.view.constituents_only(*product))
