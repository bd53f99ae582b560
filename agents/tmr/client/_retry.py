# SPDX-License-Identifier: Apache-2.0
"""One call over several attempts: the server to ask, the pause before, the end of patience. No I/O, no clock.

A failover looks like this to a client: a connection breaks or stays silent, new ones are refused or not
answered, perhaps a twin says that it is not active; then the other twin answers at the same address. So every
retry goes over a fresh connection, at once first and then a little slower each time. What changes state
carries an idempotency key, the same in all attempts.

Without a majority of upstreams there is no virtual address at all. When it stays silent, the twins are asked
at their own addresses: they know why.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from tmr.api.errors import NoService, TmrError, TwinAnswer
from tmr.api.patience import ANSWER_WAIT
from tmr.api.problem import Problem
from tmr.api.problems import PROBLEMS, to_error
from tmr.client._operations import Answer, Request, problem_of

KEY_PATIENCE: Final = 50.0
"""Seconds for which a request is tried at most that must be carried out once. Servers remember its outcome
for longer than that (`tmr.ledger.memory.PROMISED_MS`): a later retry may be a new request to them.
"""

_NOT_YET: Final = frozenset({"not-active", "overloaded"})
_SAME_CONNECTION: Final = frozenset({"licence-unavailable", "overloaded", "storage-full", "twin-not-ready"})
# The best explanation first, where several twins give one.
_RANK: Final = ("storage-full", "licence-unavailable", "no-quorum", "overloaded", "not-active")


class FailureKind(StrEnum):
    """Kind of a failed attempt."""

    NOTHING = "nothing"
    """No connection: the request was not sent."""
    BROKEN = "broken"
    """Sent, but not answered: it may have been carried out."""
    NOT_YET = "not-yet"
    """A twin that is about to serve, or that another one replaces: over in a moment."""
    BUSY = "busy"
    """A server that has too much to do: it says when to come back."""
    REFUSED = "refused"
    """A clear explanation why it is impossible now."""


_HEARD: Final = {"not-active": FailureKind.NOT_YET, "overloaded": FailureKind.BUSY}


@dataclass(frozen=True, slots=True)
class Policy:
    """Patience of the retries, in seconds.

    `patience`: while no server answers; where something is taken, KEY_PATIENCE at most. `refusal_patience`:
    after a clear explanation why it is impossible now, such as too few constituents. `connect`: time for one
    attempt to connect, and again for the handshake; it grows with every failure to `longest_connect`, so that
    a server that many clients come back to at once can keep up. `read`: time for one answer.
    `longest_busy_pause`: after `overloaded`, whatever was asked for.
    """

    patience: float = 30.0
    refusal_patience: float = 5.0
    connect: float = 0.5
    longest_connect: float = 1.5
    read: float = ANSWER_WAIT
    first_pause: float = 0.025
    longest_pause: float = 0.25
    longest_refused_pause: float = 1.0
    longest_busy_pause: float = 5.0
    twins_after: float = 1.0
    """Silence after which the twins are asked for the reason …"""
    twins_every: float = 2.0
    """… and again."""
    beat_again: float = 2.0
    """Pause after a heartbeat that was clearly refused."""

    def for_release(self) -> "Policy":
        """For giving back: a failover is waited for, but no program's end is held up for long."""
        return replace(
            self, patience=min(self.patience, 5.0), refusal_patience=min(self.refusal_patience, 1.0)
        )

    def for_heartbeats(self) -> "Policy":
        """For one call of a heartbeat. They never give up, so each is short: new sessions join the next."""
        return replace(self, patience=5.0, refusal_patience=5.0)

    def after_heartbeat(self, error: Exception) -> float:
        """Seconds until the next heartbeat after one that ended with `error`."""
        return self.longest_pause if isinstance(error, NoService) else self.beat_again


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that brought no answer; `error`: set if trying again is useless."""

    heard: FailureKind
    text: str
    error: TmrError | None = None


def decide(
    policy: Policy,
    heard: FailureKind,
    *,
    failures: int,
    elapsed: float,
    refused_for: float | None = None,
    retry_after: float | None = None,
    repeatable: bool = True,
    jitter: float = 0.5,
) -> float | None:
    """Seconds to wait before the next attempt, or None: give up.

    `failures`: attempts that failed, at least 1. `elapsed`: seconds since the first began. `refused_for`:
    seconds since the first clear refusal, None if there was none. `retry_after`: what the server asked for.
    `jitter`: 0 to 1, so that many clients do not come back in the same moment.
    """
    if heard is FailureKind.BROKEN and not repeatable:
        return None
    left = policy.patience - elapsed
    if refused_for is not None:
        left = min(left, policy.refusal_patience - refused_for)
    if left <= 0:
        return None
    if failures == 1 and heard in (FailureKind.NOTHING, FailureKind.BROKEN):
        return 0.0
    if heard is FailureKind.BUSY and retry_after is not None:
        # Never before the time, and ever later: those who were turned away together must not come together.
        pause = min(policy.longest_busy_pause, retry_after * 1.5 ** min(failures - 1, 30))
        return min(pause * (1 + 0.5 * jitter), left)
    longest = policy.longest_refused_pause if heard is FailureKind.REFUSED else policy.longest_pause
    pause = min(longest, policy.first_pause * 2.0 ** min(failures - 1, 30))
    if heard is FailureKind.REFUSED and retry_after is not None:
        pause = max(pause, min(retry_after, longest))
    return min(pause * (0.75 + 0.5 * jitter), left)


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request to `address`; `connect`, `read`: seconds allowed; `last`: the connection may go."""

    address: str
    connect: float
    read: float
    last: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """A success, to be read."""

    answer: Answer


Step = Send | Wait | Done


class Call:
    """One request, until it is answered or given up.

    Do what `next` says; after a `Send` tell the outcome by `answered` or `failed`, and use a connection that
    failed never again. `now` is monotonic, in seconds. `next` raises the TmrError that ends the call.
    """

    def __init__(
        self,
        request: Request,
        servers: Sequence[str],
        twins: Sequence[str],
        policy: Policy,
        now: float,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._request = request
        self._servers = servers
        # The twins are given the whole request: one that is active may as well carry it out.
        self._twins = twins if request.repeatable else ()
        self._policy = (
            replace(policy, patience=min(policy.patience, KEY_PATIENCE)) if request.once else policy
        )
        self._jitter = jitter
        self._started = now
        self._failures = 0
        self._end: Done | TmrError | None = None
        self._wait: float | None = None
        self._heard = FailureKind.NOTHING
        self._retry_after: float | None = None
        self._sent_at = now
        self._silent_since: float | None = None
        self._refused_since: float | None = None
        self._asked_at: float | None = None
        self._to_ask: list[str] = []
        self._problem: Problem | None = None
        self._text = ""
        self._reasons: dict[str, TwinAnswer] = {}

    def next(self, now: float) -> Step:
        """Returns the next step."""
        if isinstance(self._end, TmrError):
            raise self._end
        if self._end is not None:
            return self._end
        if self._to_ask:
            return self._send(self._to_ask[0], now, self._policy.connect, last=True)
        if self._wait:
            wait, self._wait = self._wait, None
            return Wait(wait)
        connect = min(self._policy.connect * (1 + 0.5 * self._failures), self._policy.longest_connect)
        return self._send(self._servers[self._failures % len(self._servers)], now, connect)

    def answered(self, answer: Answer, now: float) -> bool:
        """The last `Send` brought this answer. Gives whether its connection is of no use any more."""
        problem = problem_of(answer)
        if problem is None:
            self._end = Done(answer)
            return False
        kind = PROBLEMS.get(problem.slug)
        passing = kind.passing if kind else problem.status >= 500
        if not passing:
            self._end = to_error(problem)
            return False
        if self._to_ask:
            self._twin_said(TwinAnswer(self._to_ask[0], problem, ""), now)
            return True
        self._problem = problem
        self._reasons.clear()
        self._silent_since = None
        self._retry_after = answer.retry_after
        if problem.slug in _NOT_YET:
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = now
        self._server_failed(_HEARD.get(problem.slug, FailureKind.REFUSED), now)
        # A twin that lost its term lost the address as well, but not the connections made before.
        return problem.slug not in _SAME_CONNECTION

    def failed(self, failure: Failure, now: float) -> None:
        """The last `Send` brought no answer."""
        if self._to_ask:
            self._twin_said(TwinAnswer(self._to_ask[0], None, failure.text), now)
            return
        if failure.error is not None:
            self._end = failure.error
            return
        if self._silent_since is None:
            self._silent_since = self._sent_at
        self._text = failure.text
        self._retry_after = None
        self._server_failed(failure.heard, now)

    def _send(self, address: str, now: float, connect: float, *, last: bool = False) -> Send:
        self._sent_at = now
        left = max(0.5, self._policy.patience - (now - self._started))
        return Send(address, min(connect, left), min(self._policy.read, left), last)

    def _server_failed(self, heard: FailureKind, now: float) -> None:
        self._failures += 1
        self._heard = heard
        pause = self._decide(now)
        silent = self._silent_since is not None and heard in (FailureKind.NOTHING, FailureKind.BROKEN)
        if silent and self._should_ask_twins(now, last_chance=pause is None):
            self._asked_at = now
            self._to_ask = list(self._twins)
        else:
            self._settle(pause, now)

    def _should_ask_twins(self, now: float, *, last_chance: bool) -> bool:
        if not self._twins or self._silent_since is None:
            return False
        if self._asked_at is not None and now - self._asked_at < self._policy.twins_every:
            return False
        return last_chance or now - self._silent_since >= self._policy.twins_after

    def _twin_said(self, answer: TwinAnswer, now: float) -> None:
        self._reasons[answer.address] = answer
        del self._to_ask[0]
        if self._to_ask:
            return
        said = [a.problem.slug for a in self._reasons.values() if a.problem is not None]
        if any(slug not in _NOT_YET for slug in said):
            if self._refused_since is None:
                self._refused_since = now
        elif said:
            self._refused_since = None
        self._settle(self._decide(now), now)

    def _decide(self, now: float) -> float | None:
        return decide(
            self._policy,
            self._heard,
            failures=self._failures,
            elapsed=now - self._started,
            refused_for=None if self._refused_since is None else now - self._refused_since,
            retry_after=self._retry_after,
            repeatable=self._request.repeatable,
            jitter=self._jitter(),
        )

    def _settle(self, pause: float | None, now: float) -> None:
        self._wait = pause
        if pause is None:
            self._end = self._error(now)

    def _error(self, now: float) -> TmrError:
        """Reason why the call is given up: the best explanation that a server gave."""
        reasons = tuple(self._reasons.values())
        told = [a.problem for a in reasons if a.problem is not None]
        if self._problem is not None:
            told.append(self._problem)
        if told:
            best = min(told, key=lambda p: _RANK.index(p.slug) if p.slug in _RANK else len(_RANK))
            error = to_error(best)
            if isinstance(error, NoService):
                error.reasons, error.heard = reasons, self._text
            return error
        places = " and ".join(self._servers)
        if self._heard is FailureKind.BROKEN and not self._request.repeatable:
            return NoService(
                f"The connection to {places} ended before the answer came ({self._text})",
                "Look at `tmr status` to see whether the request was carried out.",
                heard=self._text,
            )
        return NoService(
            f"Nobody answered at {places} for {now - self._started:.0f} s ({self._text})",
            "Check the network and that the TMR servers run.",
            reasons=reasons,
            heard=self._text,
        )
