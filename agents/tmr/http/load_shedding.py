# SPDX-License-Identifier: Apache-2.0
"""The stage before the application that turns requests away before work is spent on them."""

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tmr.api.fields import IDEMPOTENCY_HEADER
from tmr.http.fair_share import REASONS, SLOW, Client, FairShare
from tmr.http.load_limits import Load, LoadLimits, Priority
from tmr.http.metrics import Metrics
from tmr.net.identity import Identity
from tmr.net.problem import ProblemError
from tmr.service.guard import RequestGuard
from tmr.service.problems import problem

TICK: Final = 0.05
"""Seconds between looks at whether the event loop is late, while there is work."""
_KEY: Final = IDEMPOTENCY_HEADER.lower().encode()
_EXACT: Final = {
    ("POST", "/v1/sessions"): Priority.NEW,
    ("POST", "/v1/borrowings"): Priority.NEW,
    ("POST", "/v1/batch"): Priority.NEW,
    ("POST", "/v1/heartbeats"): Priority.CRITICAL,
    ("GET", "/"): Priority.CRITICAL,
    ("GET", "/metrics"): Priority.CRITICAL,
    ("GET", "/v1/status"): Priority.CRITICAL,
    ("GET", "/v1/access"): Priority.CRITICAL,
    ("PUT", "/v1/access"): Priority.CRITICAL,
    ("POST", "/v1/operator/switchover"): Priority.CRITICAL,
}
_PATTERNS: Final = tuple(
    (method, re.compile(path), priority)
    for method, path, priority in (
        ("DELETE", r"/v1/(sessions|borrowings)/[^/]+", Priority.CRITICAL),
        ("PUT", r"/v1/sessions/[^/]+/heartbeat", Priority.CRITICAL),
        ("POST", r"/v1/sessions/[^/]+/units", Priority.HELD),
        ("GET", r"/v1/borrowings/[^/]+/file", Priority.HELD),
    )
)


def priority_of(method: str, path: str) -> Priority:
    """Priority of a request. What is not known is least urgent."""
    exact = _EXACT.get((method, path))
    if exact is not None:
        return exact
    for known, pattern, priority in _PATTERNS:
        if known == method and pattern.fullmatch(path):
            return priority
    return Priority.READ_ONLY


class LoopLag:
    """Lateness of the event loop, seconds: watched only while there is work."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._due: float | None = None
        self._last = 0.0

    def watch(self) -> None:
        """There is work."""
        if self._due is None:
            self._schedule()

    def now(self) -> float:
        """Lateness as seen last, or more, if that look is overdue itself."""
        if self._due is None:
            return 0.0
        return max(self._last, asyncio.get_running_loop().time() - self._due)

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + TICK
        loop.call_at(self._due, self._look)

    def _look(self) -> None:
        assert self._due is not None  # noqa: S101
        self._last = max(0.0, asyncio.get_running_loop().time() - self._due)
        self._due = None
        if self._busy():
            self._schedule()


class LoadShedder:
    """Answers 503 `overloaded` with Retry-After in place of the application.

    That is so where `LoadLimits` says so, or where a client exceeds its share. A request is in work from when
    its body has arrived until its answer begins, so that a client which sends or reads slowly takes no place.
    """

    def __init__(self, app: ASGIApp, guard: RequestGuard, metrics: Metrics) -> None:
        self._app = app
        self._guard = guard
        self._admission = LoadLimits()
        self._in_work = dict.fromkeys(Priority, 0)
        self.share = FairShare(lambda reason: metrics.limited.labels(reason).inc())
        self._lag = LoopLag(lambda: any(self._in_work.values()))
        self._metrics = metrics
        metrics.waiting.set_function(lambda: guard.command_log.pending)
        for priority in Priority:
            metrics.in_work.labels(priority).set_function(partial(self._count, priority))
            metrics.shed.labels(priority)
        for reason in REASONS:
            metrics.limited.labels(reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        priority = priority_of(scope["method"], scope["path"])
        if priority is Priority.NEW and self._known(scope):
            priority = Priority.HELD
        refused = self.refusal(priority)
        if refused is not None:
            await refused.response()(scope, receive, send)
            return
        request = _Request(self, scope, receive, send, priority)
        try:
            await request.pass_on(self._app)
        except ProblemError as limited:
            if request.answered:
                raise
            await limited.response()(scope, receive, send)
        finally:
            request.end()

    def _count(self, priority: Priority) -> int:
        return self._in_work[priority]

    def load(self, priority: Priority) -> Load:
        """Load now."""
        command_log = self._guard.command_log
        return Load(self._in_work[priority], command_log.pending, command_log.oldest, self._lag.now())

    def begin(self, priority: Priority) -> None:
        """A request is in work."""
        self._in_work[priority] += 1
        self._lag.watch()

    def end(self, priority: Priority) -> None:
        """A request that was in work is answered."""
        self._in_work[priority] -= 1

    def refusal(self, priority: Priority) -> ProblemError | None:
        """The answer to a request of this kind where there is too much to do; None: it is taken on."""
        if not self._guard.command_log.holds:
            return None  # it refuses everything at once, and says why
        load = self.load(priority)
        self._metrics.lag.set(load.lag)
        seconds = self._admission.refuses(priority, load)
        if seconds is None:
            return None
        self._metrics.shed.labels(priority).inc()
        detail = f"There is more to do than can be done in time: {self._admission.reason(priority, load)}."
        return problem("overloaded", detail, retry_after=seconds)

    def _known(self, scope: Scope) -> bool:
        """The request was made before: a retry costs little, and a place in the queue must be asked for."""
        peer: Identity | None = scope.get("state", {}).get("peer")
        keys = [value for name, value in scope["headers"] if name == _KEY]
        if peer is None or len(keys) != 1:
            return False
        return self._guard.ledger.remembered(peer.account, keys[0].decode("latin-1")) is not None


class _Request:
    """One request on its way to the application and back."""

    def __init__(
        self, shedding: LoadShedder, scope: Scope, receive: Receive, send: Send, priority: Priority
    ) -> None:
        self._shedding = shedding
        self._share = shedding.share
        self._scope = scope
        self._receive = receive
        self._send = send
        self._priority = priority
        peer: Identity | None = scope.get("state", {}).get("peer")
        address = scope["client"][0] if scope.get("client") else ""
        self._client = Client("" if peer is None else peer.account, address)
        self._entered = self._begun = self._arrived = self._slow = self._ended = False
        self._size = 0
        self._slow_at = asyncio.get_running_loop().time() + SLOW
        self.answered = False

    async def pass_on(self, app: ASGIApp) -> None:
        """Have the request answered. Raises ProblemError in place of an answer."""
        await self._share.enter(self._client)
        self._entered = True
        if self._scope["method"] not in ("POST", "PUT"):
            await self._begin()
        await app(self._scope, self._heard, self._answer)

    async def _begin(self) -> None:
        """All of the request is there."""
        self._arrived = self._begun = True
        self._shedding.begin(self._priority)
        await self._share.turn(self._client, self._priority, self._size)

    async def _heard(self) -> Message:
        if self._arrived or self._ended:
            return await self._receive()
        message = await self._next()
        if message["type"] != "http.request":
            return message
        self._size += len(message.get("body", b""))
        if not message.get("more_body", False):
            self._in_time()
            late = self._shedding.refusal(self._priority)  # others came while the body was on its way
            if late is not None:
                raise late
            await self._begin()
        return message

    async def _next(self) -> Message:
        """More of the body. A body that takes long as a whole counts as slow. Raises ProblemError."""
        if self._slow:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._slow_at):
                return await self._receive()
        except TimeoutError:
            await self._share.slowly(self._client)
            self._slow = True
        return await self._receive()

    async def _answer(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.answered = True
            self.end()
        await self._send(message)

    def _in_time(self) -> None:
        if self._slow:
            self._slow = False
            self._share.arrived(self._client)

    def end(self) -> None:
        """The answer begins, or there will be none."""
        self._ended = True
        self._in_time()
        if self._begun:
            self._begun = False
            self._shedding.end(self._priority)
        if self._entered:
            self._entered = False
            self._share.leave(self._client)
