# SPDX-License-Identifier: Apache-2.0
"""A flood of one client, and what it does to its neighbour.

A neighbour keeps a session alive every 5 ms. Its latency under each kind of flood is compared to that
without, measured right before, and to that under a control: the same flood against another system, which
costs the machine as much, and the server nothing. What the server itself does between a request and its
answer is told as processor time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from bench.load.job import Begun, Timeline
from bench.load.process import Load
from bench.probing import Pauses, pauses, probe
from bench.scale.system import System, system
from testbed import report
from testbed.flood import Kind, flooded
from testbed.machine import machine
from testbed.report import Report, Table

CONNECTIONS: Final[dict[Kind, int]] = {"heartbeats": 400, "slow-bodies": 1_500, "handshakes": 64}
SOURCE: Final = "127.0.0.2"
"""Address that the flood comes from: not its neighbour's."""
BOUND: Final = 120.0
"""Seconds more than it is measured for, after which a load ends by itself."""


class Row(msgspec.Struct):
    """One kind of flood. Latencies of the neighbour in seconds."""

    kind: str
    connections: int
    without: Pauses
    control: Pauses
    """The flood is against another system on the same machine."""
    under: Pauses
    answers: dict[str, int]
    """Answers to the flood by status; `ended`: its connection was."""
    epochs: tuple[int, int]
    """Before and after: equal where the twin kept its lease."""


class Result(msgspec.Struct):
    """All rows, and where they were measured."""

    machine: str
    seconds: float
    rows: list[Row]


def run(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Measure each kind."""
    seconds = 2.0 if options.short else options.seconds
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="fairness") as directory,
        system(Path(directory) / "system", 1) as found,
        system(Path(directory) / "other", 1) as other,
    ):
        found.machines.whole()
        other.machines.whole()
        for kind in CONNECTIONS:
            rows.append(measure(found, other, kind, seconds))
            say(" | ".join(_cells(rows[-1])))
    result = Result(machine(), seconds, rows)
    say(str(report.write(options.out, "fairness", describe(result), result)))
    return 0


def measure(found: System, other: System, kind: Kind, seconds: float) -> Row:
    """The neighbour without the flood, then while it is against the `other` system, then under it."""
    epoch, connections = _epoch(found), CONNECTIONS[kind]
    without = _probed(found, seconds)
    with flooded(other.client_config(), "127.0.0.1", kind, connections=connections, source=SOURCE):
        control = _probed(found, seconds)
    with flooded(found.client_config(), "127.0.0.1", kind, connections=connections, source=SOURCE) as answers:
        under = _probed(found, seconds)
    return Row(kind, connections, without, control, under, answers, (epoch, _epoch(found)))


def _probed(found: System, seconds: float) -> Pauses:
    with Load(probe(found.target("bob"), seconds + BOUND, found.machines.active().pid)) as load:
        load.hear(Begun)
        time.sleep(seconds)
        return pauses(load.end(Timeline))


def _epoch(found: System) -> int:
    status = found.machines.status(found.machines.active())
    assert status is not None
    return int(status["epoch"])


def describe(result: Result) -> Report:
    """The report."""
    head = (
        "flood",
        "p50",
        "p99",
        "longest",
        "work, p50",
        "work, p99",
        "p99 to that without",
        "to control",
        "lease",
    )
    return Report(
        "One client floods, its neighbour keeps a session alive",
        f"{result.machine}. {result.seconds:g} s each; the neighbour's heartbeats, in ms: without the flood, "
        "under the same flood against another system on this machine (control), under the flood. Work: "
        "processor time of the server between request and answer.",
        parts=[Table(head, [_cells(row) for row in result.rows], frozenset(range(1, 8)))],
    )


def _cells(row: Row) -> tuple[str, ...]:
    found = (row.without, row.control, row.under)
    figures = (
        [one.took.p50 for one in found],
        [one.took.p99 for one in found],
        [one.took.worst for one in found],
        [one.work.p50 for one in found],
        [one.work.p99 for one in found],
    )
    return (
        f"{row.kind}, {row.connections} connections",
        *(" → ".join(f"{1e3 * value:.1f}" for value in values) for values in figures),
        f"{row.under.took.p99 / row.without.took.p99:.1f}",
        f"{row.under.took.p99 / row.control.took.p99:.1f}",
        "kept" if row.epochs[0] == row.epochs[1] else "lost",
    )
