# SPDX-License-Identifier: Apache-2.0
"""Runs on the client machine: the public client, with every request and answer written down at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Final, TypeVar

import msgspec

from tmr.client import AsyncClient, LicenceUnavailable, NoService, Policy, Refused, SessionLost, TmrError
from tmr.client import _operations as wire
from tmr.client._retry import Call, Send

from .operations import Journal, Operation, Verb

T = TypeVar("T")

_TRIES: ContextVar[list[float]] = ContextVar("tries")
_SUCCESS: Final[dict[Verb, int]] = {"checkout": 201, "borrow": 201, "release": 204, "return": 204}


class Counting(AsyncClient):
    """The public client, which counts how often a request is sent."""

    async def ask(self, asked: wire.Operation[T], policy: Policy, tries: list[float]) -> T:
        """One call with all its retries; their times are added to `tries`."""
        _TRIES.set(tries)
        return await self._run(asked, policy=policy)

    async def _attempt(self, request: wire.Request, send: Send, call: Call) -> None:
        _TRIES.get([]).append(time.monotonic())
        await super()._attempt(request, send, call)


class Observed:
    """One client: asks, and writes down what it asked and was told."""

    def __init__(self, name: str, client: Counting, journal: Journal, patience: float) -> None:
        self.name = name
        self._client, self._journal = client, journal
        self._policy = replace(client.policy, patience=patience, refusal_patience=patience)
        self._number = 0

    @property
    def now(self) -> float:
        """Seconds since the plan began."""
        return self._journal.now()

    async def ask(
        self,
        operation: Operation,
        asked: wire.Operation[T],
        told: Callable[[Operation, T], None],
        *,
        patience: float | None = None,
    ) -> Operation:
        """Send a request until it is answered or given up. `told` fills in what a success says.

        A client that gives up does not know whether it was carried out, whatever the last answer was.
        """
        self._number += 1
        operation = msgspec.structs.replace(
            operation, client=self.name, number=self._number, key=asked.request.key, sent=self.now
        )
        self._journal.write(operation)
        policy, tries = self._policy, list[float]()
        if patience is not None:
            policy = replace(policy, patience=patience, refusal_patience=patience)
        try:
            answer = await self._client.ask(asked, policy, tries)
        except (NoService, LicenceUnavailable) as error:
            operation.given_up = self.now
            if error.problem is not None:
                operation.problem, operation.status = error.problem.slug, error.problem.status
        except (SessionLost, Refused) as error:
            operation.answered = self.now
            operation.outcome = "gone" if isinstance(error, SessionLost) else "refused"
            operation.problem, operation.status = error.problem.slug, error.problem.status
            operation.code, operation.rule = error.problem.code, error.problem.rule
        except TmrError as error:
            operation.given_up, operation.problem = self.now, type(error).__name__
        else:
            operation.answered, operation.status = self.now, _SUCCESS.get(operation.verb, 200)
            told(operation, answer)
        operation.tries = max(1, len(tries))
        self._journal.write(operation)
        return operation


def blank(verb: Verb, product: int) -> Operation:
    """A request to be sent."""
    return Operation(client="", number=0, verb=verb, product=product, key="", sent=0.0)
