"""The stage before the application that turns requests away before work is spent on them."""

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tmr.client.models import IDEMPOTENCY_HEADER
from tmr.desk.admission import Admission, Load, Priority
from tmr.desk.gate import Gate
from tmr.desk.metrics import Metrics
from tmr.desk.problems import problem
from tmr.rim.identity import Identity
from tmr.rim.problem import Problem

TICK: Final = 0.05
"""Seconds between looks at whether the event loop is late, while there is work."""
TURN: Final = 0.05
"""Seconds in one turn of the event loop in which requests other than the most urgent are begun."""
_KEY: Final = IDEMPOTENCY_HEADER.lower().encode()
_EXACT: Final = {
    ("POST", "/v1/sessions"): Priority.NEW,
    ("POST", "/v1/borrowings"): Priority.NEW,
    ("POST", "/v1/batch"): Priority.NEW,
    ("POST", "/v1/heartbeats"): Priority.FIRST,
    ("GET", "/"): Priority.FIRST,
    ("GET", "/metrics"): Priority.FIRST,
    ("GET", "/v1/status"): Priority.FIRST,
    ("GET", "/v1/access"): Priority.FIRST,
    ("PUT", "/v1/access"): Priority.FIRST,
    ("POST", "/v1/operator/switchover"): Priority.FIRST,
}
_PATTERNS: Final = tuple(
    (method, re.compile(path), priority)
    for method, path, priority in (
        ("DELETE", r"/v1/(sessions|borrowings)/[^/]+", Priority.FIRST),
        ("PUT", r"/v1/sessions/[^/]+/heartbeat", Priority.FIRST),
        ("POST", r"/v1/sessions/[^/]+/units", Priority.HELD),
        ("GET", r"/v1/borrowings/[^/]+/file", Priority.HELD),
    )
)


def priority_of(method: str, path: str) -> Priority:
    """What a request is for. What is not known is least urgent."""
    exact = _EXACT.get((method, path))
    if exact is not None:
        return exact
    for known, pattern, priority in _PATTERNS:
        if known == method and pattern.fullmatch(path):
            return priority
    return Priority.LOOK


class Lag:
    """How late the event loop is, seconds: watched only while there is work."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._due: float | None = None
        self._last = 0.0

    def watch(self) -> None:
        """There is work."""
        if self._due is None:
            self._schedule()

    def now(self) -> float:
        """How late it is: as seen last, or more, if that look is overdue itself."""
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


class Turnstile:
    """Lets so many through in one turn of the event loop as begin within TURN; others come in the next ones.

    A crowd that arrives at once would else be worked on in one turn, in which the lease cannot be renewed.
    """

    def __init__(self) -> None:
        self._since: float | None = None

    async def passed(self) -> None:
        """Wait for one's turn, in the order of arrival."""
        while not self._open():  # noqa: ASYNC110 - the next turn is what is waited for
            await asyncio.sleep(0)

    def _open(self) -> bool:
        loop = asyncio.get_running_loop()
        if self._since is None:
            self._since = loop.time()
            loop.call_soon(self._next)
            return True
        return loop.time() - self._since < TURN

    def _next(self) -> None:
        self._since = None


class Shedding:
    """Answers 503 `overloaded` with Retry-After in place of the application, where `Admission` says so.

    A request is in work from when its body has arrived until its answer begins, so that who sends or reads
    slowly takes nobody's place.
    """

    def __init__(self, app: ASGIApp, gate: Gate, metrics: Metrics) -> None:
        self._app = app
        self._gate = gate
        self._admission = Admission()
        self._in_work = dict.fromkeys(Priority, 0)
        self._turnstile = Turnstile()
        self._lag = Lag(lambda: any(self._in_work.values()))
        self._metrics = metrics
        metrics.waiting.set_function(lambda: gate.kernel.pending)
        for priority in Priority:
            metrics.in_work.labels(priority).set_function(partial(self._count, priority))
            metrics.shed.labels(priority)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        priority = priority_of(scope["method"], scope["path"])
        if priority is Priority.NEW and self._known(scope):
            priority = Priority.HELD
        refused = self._refusal(priority)
        if refused is not None:
            await refused.response()(scope, receive, send)
            return
        begun = ended = False

        def begin() -> None:
            nonlocal begun
            begun = True
            self._in_work[priority] += 1
            self._lag.watch()

        def end() -> None:
            nonlocal ended
            if begun and not ended:
                self._in_work[priority] -= 1
            ended = True

        async def heard() -> Message:
            message = await receive()
            if (
                not (begun or ended)
                and message["type"] == "http.request"
                and not message.get("more_body", False)
            ):
                late = self._refusal(priority)  # others came while the body was on its way
                if late is not None:
                    raise late
                begin()
            return message

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                end()
            await send(message)

        begin()
        try:
            if priority is not Priority.FIRST:
                await self._turnstile.passed()
            if scope["method"] in ("POST", "PUT"):  # not in work before its body is there
                begun = False
                self._in_work[priority] -= 1
            await self._app(scope, heard, answer)
        finally:
            end()

    def _count(self, priority: Priority) -> int:
        return self._in_work[priority]

    def load(self, priority: Priority) -> Load:
        """How much there is to do now."""
        kernel = self._gate.kernel
        return Load(self._in_work[priority], kernel.pending, kernel.oldest, self._lag.now())

    def _refusal(self, priority: Priority) -> Problem | None:
        if not self._gate.kernel.holds:
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
        return self._gate.ledger.remembered(peer.account, keys[0].decode("latin-1")) is not None
