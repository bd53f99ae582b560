"""Runs on the client machine: one application that checks a licence out and gives it back, until SIGTERM.

    churn.py FIRM PRODUCT

Each request is a line of JSON on standard output when its outcome is known: `verb`, `sent` and `answered`
(nanoseconds of CLOCK_MONOTONIC), `error` if the application was told of one. Retries are the client's.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from tmr.client import Client, TmrError, _operations

T = TypeVar("T")


def _timed(verb: str, ask: Callable[[], T]) -> T | None:
    sent, answer, error = time.monotonic_ns(), None, ""
    try:
        answer = ask()
    except TmrError as told:
        error = str(told) or type(told).__name__
    line = {"verb": verb, "sent": sent, "answered": time.monotonic_ns(), "error": error}
    print(json.dumps(line), flush=True)
    return answer


def main() -> None:
    firm, product = (int(word) for word in sys.argv[1:3])
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    request = _operations.session_request(
        firm_code=firm, product_code=product, station="bench", user="bench", process="churn"
    )
    with Client() as client:
        while not over.is_set():
            session = _timed("checkout", partial(client.acquire, request))
            if session is not None:
                _timed("release", partial(client.release, session.id))


if __name__ == "__main__":
    main()
