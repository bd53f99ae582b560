"""Runs on the client machine: an application that holds a licence and makes sure of it four times a second.

    holder.py FIRM PRODUCT TTL

Each line on standard output is JSON: `at_ns` (CLOCK_MONOTONIC), `session`, `state`, `took_ms` of the
heartbeat; `error` if the application was told of one. SIGTERM gives the licence back.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from typing import Final

from tmr.client import Client, Policy, TmrError

INTERVAL_S: Final = 0.25
PATIENCE_S: Final = 300.0


def main() -> None:
    firm, product, ttl = (int(word) for word in sys.argv[1:4])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    policy = Policy(patience=PATIENCE_S, refusal_patience=PATIENCE_S)
    with Client(policy=policy) as client, client.session(firm, product, ttl=ttl, user="demo") as session:
        while not stop.wait(INTERVAL_S):
            began = time.monotonic()
            error = ""
            try:
                client.heartbeat(session.id)
            except TmrError as told:
                error = str(told)
            line = {
                "at_ns": time.monotonic_ns(),
                "session": session.id,
                "state": str(session.state),
                "took_ms": round((time.monotonic() - began) * 1000, 1),
                "error": error,
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
