# SPDX-License-Identifier: Apache-2.0
"""Throughput and latency beside what one would run instead: ratios of medians in one session."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import msgspec
from matplotlib.figure import Figure

from bench import debs, peers
from bench.measure import Run, measure
from testbed import plots, report
from testbed.figures import half_spread, median
from testbed.machine import machine
from testbed.report import Notes, Picture, Report, Section, Table

CASES: dict[str, tuple[str, str, Callable[[Path], AbstractContextManager[peers.Peer]]]] = {
    "tmr-checkout": ("TMR: checkout, release", "checkout", peers.tmr),
    "etcd-held": ("etcd: transaction on a held lease, delete", "held", peers.etcd),
    "etcd-held-tls": ("the same over mutual TLS", "held", peers.etcd_tls),
    "etcd-fresh": ("etcd: lease + put", "fresh", peers.etcd),
    "etcd-put": ("etcd: put", "put", peers.etcd),
    "redlock": ("three Redis: Redlock", "redlock", peers.redis),
    "floor": ("FastAPI and uvicorn over mutual TLS, which do nothing", "checkout", peers.floor),
    "tmr-heartbeats": ("TMR: heartbeats, 100 sessions each (sessions)", "heartbeats", peers.tmr),
    "tmr-batch": ("TMR: batch, 100 seats each (seats)", "batch", peers.tmr),
}
"""Name → title of its row, case of the load, system."""
OURS = "tmr-checkout"
MANY = {"tmr-heartbeats": 100, "tmr-batch": 100}
"""Cases in which one request is about many sessions, and about how many: figures are for one of them."""
NOTES = """\
What differs between the rows, and should be kept in mind:
- Every row is durable when it is answered, on two of three members: etcd syncs its log, Redis every write, an
  upstream its SQLite log. All members lie on the same disk, and all processes share the same processors.
- TMR is asked over TLS with a client's certificate, and its twins ask the upstreams over TLS. So it is with
  etcd in one row; in the others etcd and Redis are asked, and talk among themselves, in the clear.
- A TMR operation checks licence, seats, access rules and certified time, and writes the licence tracking
  record. The others set a key.
- The server that does nothing is one process and stores nothing: what is left above it is all that TMR does.
- Redlock gives no such promise: a client that pauses, or a server whose clock jumps, can hold a lock twice,
  and nothing is counted.
- The load is one Python process for every peer, on the same event loop: as little HTTP/1.1 as a client can
  do, hiredis, and gRPC's own library.
"""
Groups = dict[tuple[str, int], list[Run]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this measurement alone."""
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))


def run(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """All peers run all the time, so that none is colder than another; one at a time is asked."""
    if options.short:
        options.rounds, options.seconds, options.clients = 1, 1.0, [8]
    debs.fetch()
    runs: list[Run] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench")))
        kinds = dict.fromkeys(CASES[case][2] for case in options.cases)
        running = {kind: stack.enter_context(kind(directory)) for kind in kinds}
        for number in range(options.rounds):
            for clients in options.clients:
                for case in options.cases:
                    (_, load, kind), seconds = CASES[case], options.seconds
                    found = measure(load, running[kind], clients, seconds, seconds / 4, number)
                    runs.append(found := msgspec.structs.replace(found, case=case))
                    say(f"round {number + 1} {clients:3} clients {case:15} {found.line}")
    say(str(report.write(options.out, "report", describe(runs, machine()), runs)))
    return 0


def describe(runs: Sequence[Run], where: str) -> Report:
    """The report."""
    groups: Groups = {}
    for one in runs:
        groups.setdefault((one.case, one.clients), []).append(one)
    numbers = sorted({clients for _, clients in groups})
    rates = _picture(groups, numbers, "operations a second", lambda run: run.rate)
    latencies = _picture(groups, numbers, "p99, milliseconds", lambda run: 1e3 * run.load.p99)
    return Report(
        "Beside what one would run instead",
        f"{where}. {max(run.round for run in runs) + 1} rounds of {runs[0].seconds:g} s for each row, "
        "all peers in alternation. Medians; ± is half the distance between the best and the worst round. "
        "Ratios are of TMR's row with as many clients to this one; CPU is that of all servers together.",
        sections=[
            *(Section(_clients(clients), (_table(groups, clients),)) for clients in numbers),
            Section(
                "Pictures",
                (
                    Picture("rates.svg", "Operations a second", rates),
                    Picture("latencies.svg", "Latency", latencies),
                ),
            ),
            Section("Notes", (Notes.of(NOTES),)),
        ],
    )


def _clients(number: int) -> str:
    return f"{number} client{'s' if number > 1 else ''}"


def _table(groups: Groups, clients: int) -> Table:
    ours, rows = groups.get((OURS, clients)), []
    for case, (name, _, _) in CASES.items():
        if (runs := groups.get((case, clients))) is None:
            continue
        rate, p99 = median(runs, lambda run: run.rate), median(runs, lambda run: run.load.p99)
        ratio = latency = "—"
        if ours and case not in (OURS, *MANY):
            ratio = f"{median(ours, lambda run: run.rate) / rate:.2f}"
            latency = f"{median(ours, lambda run: run.load.p99) / p99:.2f}"
        many = MANY.get(case, 1)
        cpu = median(runs, lambda run: sum(run.cpu.values()) / run.answered) / many
        syncs = median(runs, lambda run: run.syncs / run.answered) / many
        rows.append(
            (
                name,
                f"{rate * many:,.0f} ± {half_spread(runs, lambda run: run.rate):.0f} %",
                ratio,
                f"{1e3 * median(runs, lambda run: run.load.p50):.2f}",
                f"{1e3 * p99:.2f}",
                latency,
                f"{1e3 * cpu:.3f}",
                "—" if syncs != syncs else f"{syncs:.2f}",  # noqa: PLR0124 - NaN
            )
        )
    head = (
        "",
        "operations/s",
        "TMR's rate to it",
        "p50 ms",
        "p99 ms",
        "TMR's p99 to it",
        "CPU ms/op",
        "syncs/op",
    )
    return Table(head, rows, frozenset(range(1, 8)))


def _picture(groups: Groups, numbers: Sequence[int], label: str, value: Callable[[Run], float]) -> str:
    def fill(figure: Figure) -> None:
        for axis, clients in zip(figure.subplots(1, len(numbers), squeeze=False)[0], numbers, strict=True):
            shown = [case for case in CASES if (case, clients) in groups and case not in MANY]
            first = clients == numbers[0]
            plots.bars(
                axis,
                [
                    (CASES[case][0] if first else "", [*map(value, groups[case, clients])], case == OURS)
                    for case in shown
                ],
            )
            axis.set_title(_clients(clients), fontsize=10)
            axis.set_xlabel(label)
            plots.plain(axis)
        figure.tight_layout()

    return plots.draw((4 * len(numbers) + 2, 3.2), fill)
