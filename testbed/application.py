# SPDX-License-Identifier: Apache-2.0
"""Runs on the client machine: one application, on the public client, until SIGTERM.

    python -m testbed.application hold FIRM PRODUCT TTL
    python -m testbed.application churn FIRM PRODUCT

`hold` keeps one session alive four times a second, and gives it back at the end. `churn` checks a licence out
and gives it back all the time. Each request is a line of JSON (`Request`) when its outcome is known.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Final, TypeVar

from tmr.client import Client, Policy, TmrError, _operations

INTERVAL_S: Final = 0.25
PATIENCE_S: Final = 300.0
T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """One request, with all its retries. Nanoseconds of CLOCK_MONOTONIC."""

    verb: str
    sent: int
    answered: int
    error: str = ""
    """Text of the error, if the application was told of one."""
    session: str = ""
    state: str = ""
    """Of the session that is held."""

    @property
    def took_ms(self) -> float:
        """Time for which the application waited."""
        return (self.answered - self.sent) / 1e6


def read(line: str) -> Request:
    """Reads a line of the output."""
    return Request(**json.loads(line))


def _ask(verb: str, ask: Callable[[], T]) -> tuple[T | None, Request]:
    sent, answer, error = time.monotonic_ns(), None, ""
    try:
        answer = ask()
    except TmrError as told:
        error = str(told) or type(told).__name__
    return answer, Request(verb, sent, time.monotonic_ns(), error)


def _write(request: Request) -> None:
    print(json.dumps(asdict(request)), flush=True)


def hold(over: threading.Event, firm: int, product: int, ttl: int) -> None:
    """One session."""
    policy = Policy(patience=PATIENCE_S, refusal_patience=PATIENCE_S)
    with Client(policy=policy) as client, client.session(firm, product, ttl=ttl, user="demo") as session:
        while not over.wait(INTERVAL_S):
            _, request = _ask("heartbeat", partial(client.heartbeat, session.id))
            _write(replace(request, session=session.id, state=str(session.state)))


def churn(over: threading.Event, firm: int, product: int) -> None:
    """One session after the other."""
    wanted = _operations.session_request(
        firm_code=firm, product_code=product, station="bench", user="bench", process="churn"
    )
    with Client() as client:
        while not over.is_set():
            session, request = _ask("checkout", partial(client.acquire, wanted))
            _write(request)
            if session is not None:
                _, request = _ask("release", partial(client.release, session.id))
                _write(request)


def main() -> None:
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    what, *numbers = sys.argv[1:]
    if what == "hold":
        hold(over, *map(int, numbers))
    else:
        churn(over, *map(int, numbers))


if __name__ == "__main__":
    main()
