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

from bench.load import flood, probe
from bench.load.until import Begun
from bench.scale.loads import Load
from bench.scale.system import System, system
from testbed import report
from testbed.flood import Kind
from testbed.machine import machine
from testbed.report import Report, Table

PROBE_EVERY: Final = 0.005
LIMIT: Final = 0.05
CONNECTIONS: Final[dict[Kind, int]] = {"heartbeats": 400, "slow-bodies": 1_500, "handshakes": 64}
BOUND: Final = 120.0
"""Seconds more than it is measured for, after which a load ends by itself."""


class Row(msgspec.Struct):
    """One kind of flood. Latencies of the neighbour in seconds."""

    kind: str
    connections: int
    without: probe.Pauses
    control: probe.Pauses
    """The flood is against another system on the same machine."""
    under: probe.Pauses
    answers: dict[str, int]
    """Answers to the flood by status; `ended`: its connection was."""
    epochs: tuple[int, int]
    """Before and after: equal where the twin kept its lease."""

    @property
    def ratio(self) -> float:
        """The neighbour's p99 under the flood to that without."""
        return self.under.p99 / self.without.p99

    @property
    def to_control(self) -> float:
        """The neighbour's p99 under the flood to that under the control: the server's part in it."""
        return self.under.p99 / self.control.p99


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
    control, _ = _flooded(found, other, kind, seconds)
    under, answers = _flooded(found, found, kind, seconds)
    return Row(kind, connections, without, control, under, answers, (epoch, _epoch(found)))


def _flooded(
    found: System, victim: System, kind: Kind, seconds: float
) -> tuple[probe.Pauses, dict[str, int]]:
    """The neighbour in `found` while `victim` is flooded, and what the flood was answered."""
    wanted = flood.Flood(victim.target("alice"), kind)
    with Load("tmr-flood", CONNECTIONS[kind], seconds + BOUND, wanted) as load:
        load.hear(Begun)
        return _probed(found, seconds), load.end(flood.Sent).answers


def _probed(found: System, seconds: float) -> probe.Pauses:
    wanted = probe.Probe(found.target("bob"), PROBE_EVERY, LIMIT, found.machines.active().pid)
    with Load("tmr-probe", 1, seconds + BOUND, wanted) as load:
        load.hear(Begun)
        time.sleep(seconds)
        return load.end(probe.Pauses)


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
    return (
        f"{row.kind}, {row.connections} connections",
        *(
            " → ".join(f"{1e3 * getattr(one, figure):.1f}" for one in found)
            for figure in ("p50", "p99", "worst", "work50", "work99")
        ),
        f"{row.ratio:.1f}",
        f"{row.to_control:.1f}",
        "kept" if row.epochs[0] == row.epochs[1] else "lost",
    )
