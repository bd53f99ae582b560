"""`python -m bench`: every peer in alternation, and the report into `build/bench`.

`--short` runs each case once for a second: to see that it works, not to judge.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import msgspec

from bench import debs, peers, report
from bench.measure import Run, measure
from testbed.machine import machine

CASES: dict[str, Callable[[Path], AbstractContextManager[peers.Peer]]] = {
    "tmr-checkout": peers.tmr,
    "etcd-held": peers.etcd,
    "etcd-held-tls": peers.etcd_tls,
    "etcd-fresh": peers.etcd,
    "etcd-put": peers.etcd,
    "redlock": peers.redis,
    "floor": peers.floor,
    "tmr-heartbeats": peers.tmr,
    "tmr-batch": peers.tmr,
}


def main() -> int:
    """Exit status 0 where everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="one round of a second each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement (default 6)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    options = parser.parse_args()
    if options.short:
        options.rounds, options.seconds, options.clients = 1, 1.0, [8]
    debs.fetch()
    runs = _measure(options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "runs.json").write_bytes(msgspec.json.encode(runs))
    report.pictures(runs, options.out)
    (options.out / "report.md").write_text(report.markdown(runs, machine()))
    sys.stdout.write(f"{options.out / 'report.md'}\n")
    return 0


def _measure(options: argparse.Namespace) -> list[Run]:
    """All peers run all the time, so that none is colder than another; one at a time is asked."""
    runs: list[Run] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench")))
        kinds = dict.fromkeys(CASES[case] for case in options.cases)
        running = {kind: stack.enter_context(kind(directory)) for kind in kinds}
        for number in range(options.rounds):
            for clients in options.clients:
                for case in options.cases:
                    warm_up = options.seconds / 4
                    run = measure(case, running[CASES[case]], clients, options.seconds, warm_up, number)
                    runs.append(run)
                    sys.stdout.write(
                        f"{time.strftime('%H:%M:%S')} round {number + 1} {clients:3} clients {case:15} "
                        f"{run.rate:9,.0f}/s p50 {1e3 * run.load.p50:6.2f} p99 {1e3 * run.load.p99:7.2f} ms\n"
                    )
                    sys.stdout.flush()
    return runs


if __name__ == "__main__":
    sys.exit(main())
