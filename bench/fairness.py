"""`python -m bench.fairness`: what one client's flood does to its neighbour, into `build/bench`.

A neighbour keeps a session alive every 5 ms. Its latency under each kind of flood is compared to that
without, measured right before. `--short` takes two seconds each: to see that it works, not to judge.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, get_args

import msgspec

from bench.load import flood, probe
from bench.machine import machine
from bench.scale.loads import Load
from bench.scale.system import System, system

PROBE_EVERY: Final = 0.005
LIMIT: Final = 0.05
CONNECTIONS: Final[dict[flood.Kind, int]] = {"heartbeats": 400, "slow-bodies": 1_500, "handshakes": 64}
BOUND: Final = 120.0
"""Seconds more than it is measured for, after which a load ends by itself."""


class Row(msgspec.Struct):
    """One kind of flood. Latencies of the neighbour in seconds."""

    kind: str
    connections: int
    without: probe.Pauses
    under: probe.Pauses
    answers: dict[str, int]
    """What the flood was answered, by status; 0: its connection was ended."""
    epochs: tuple[int, int]
    """Before and after: equal where the twin kept its lease."""

    @property
    def ratio(self) -> float:
        """The neighbour's p99 under the flood to that without."""
        return self.under.p99 / self.without.p99


class Result(msgspec.Struct):
    """All rows, and where they were measured."""

    machine: str
    seconds: float
    rows: list[Row]


def main() -> int:
    """Exit status 0 where everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.fairness", description=__doc__)
    parser.add_argument("--short", action="store_true", help="two seconds each")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (default 20)")
    parser.add_argument("--kinds", nargs="+", choices=get_args(flood.Kind), default=list(CONNECTIONS))
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    options = parser.parse_args()
    seconds = 2.0 if options.short else options.seconds
    with (
        tempfile.TemporaryDirectory(prefix="fairness") as directory,
        system(Path(directory) / "system", 1) as found,
    ):
        found.machines.whole()
        rows = [measure(found, kind, seconds) for kind in options.kinds]
    options.out.mkdir(parents=True, exist_ok=True)
    result = Result(machine(), seconds, rows)
    (options.out / "fairness.json").write_bytes(msgspec.json.encode(result))
    (options.out / "fairness.md").write_text(markdown(result))
    sys.stdout.write(f"{options.out / 'fairness.md'}\n")
    return 0


def measure(found: System, kind: flood.Kind, seconds: float) -> Row:
    """The neighbour without the flood, then under it."""
    epoch, connections = _epoch(found), CONNECTIONS[kind]
    without = _probed(found, seconds)
    wanted = flood.Flood(found.target("alice"), kind)
    with Load("tmr-flood", connections, seconds + BOUND, wanted) as load:
        load.hear(flood.Begun)
        under = _probed(found, seconds)
        answers = load.end(flood.Sent).answers
    row = Row(kind, connections, without, under, answers, (epoch, _epoch(found)))
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {_line(row)}\n")
    sys.stdout.flush()
    return row


def _probed(found: System, seconds: float) -> probe.Pauses:
    with Load("tmr-probe", 1, seconds + BOUND, probe.Probe(found.target("bob"), PROBE_EVERY, LIMIT)) as load:
        load.hear(probe.Begun)
        time.sleep(seconds)
        return load.end(probe.Pauses)


def _epoch(found: System) -> int:
    status = found.machines.status(found.machines.active())
    assert status is not None
    return int(status["epoch"])


def markdown(result: Result) -> str:
    """The report."""
    lines = [
        "# One client floods, its neighbour keeps a session alive",
        "",
        f"{result.machine}. {result.seconds:g} s each; latencies of the neighbour's heartbeats in ms.",
        "",
        "| flood | p50 | p99 | longest | p99 to that without | lease |",
        "|---|--:|--:|--:|--:|---|",
        *(f"| {_line(row)} |" for row in result.rows),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    figures = " | ".join(
        f"{1e3 * before:.1f} → {1e3 * after:.1f}"
        for before, after in (
            (row.without.p50, row.under.p50),
            (row.without.p99, row.under.p99),
            (row.without.worst, row.under.worst),
        )
    )
    kept = "kept" if row.epochs[0] == row.epochs[1] else "lost"
    return f"{row.kind}, {row.connections} connections | {figures} | {row.ratio:.1f} | {kept}"


if __name__ == "__main__":
    sys.exit(main())
