"""`python -m bench.fairness`: what one client's flood does to its neighbour, into `build/bench`.

A neighbour keeps a session alive every 5 ms. Its latency under each kind of flood is compared to that
without, measured right before, and to that under a control: the same flood against another system, which
costs the machine as much, and the server nothing. What the server itself does between a request and its
answer is told as processor time. `--short` takes two seconds each: to see that it works, not to judge.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from bench.load import flood, probe
from bench.scale.loads import Load
from bench.scale.system import System, system
from testbed.flood import Kind
from testbed.machine import machine

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
    """What the flood was answered, by status; `ended`: its connection was."""
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


def main() -> int:
    """Exit status 0 where everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.fairness", description=__doc__)
    parser.add_argument("--short", action="store_true", help="two seconds each")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (default 20)")
    parser.add_argument("--kinds", nargs="+", choices=list(CONNECTIONS), default=list(CONNECTIONS))
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    options = parser.parse_args()
    seconds = 2.0 if options.short else options.seconds
    with (
        tempfile.TemporaryDirectory(prefix="fairness") as directory,
        system(Path(directory) / "system", 1) as found,
        system(Path(directory) / "other", 1) as other,
    ):
        found.machines.whole()
        other.machines.whole()
        rows = [measure(found, other, kind, seconds) for kind in options.kinds]
    options.out.mkdir(parents=True, exist_ok=True)
    result = Result(machine(), seconds, rows)
    (options.out / "fairness.json").write_bytes(msgspec.json.encode(result))
    (options.out / "fairness.md").write_text(markdown(result))
    sys.stdout.write(f"{options.out / 'fairness.md'}\n")
    return 0


def measure(found: System, other: System, kind: Kind, seconds: float) -> Row:
    """The neighbour without the flood, then while it is against the `other` system, then under it."""
    epoch, connections = _epoch(found), CONNECTIONS[kind]
    without = _probed(found, seconds)
    control, _ = _flooded(found, other, kind, seconds)
    under, answers = _flooded(found, found, kind, seconds)
    row = Row(kind, connections, without, control, under, answers, (epoch, _epoch(found)))
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {_line(row)}\n")
    sys.stdout.flush()
    return row


def _flooded(
    found: System, victim: System, kind: Kind, seconds: float
) -> tuple[probe.Pauses, dict[str, int]]:
    """The neighbour in `found` while `victim` is flooded, and what the flood was answered."""
    wanted = flood.Flood(victim.target("alice"), kind)
    with Load("tmr-flood", CONNECTIONS[kind], seconds + BOUND, wanted) as load:
        load.hear(flood.Begun)
        return _probed(found, seconds), load.end(flood.Sent).answers


def _probed(found: System, seconds: float) -> probe.Pauses:
    wanted = probe.Probe(found.target("bob"), PROBE_EVERY, LIMIT, found.machines.active().pid)
    with Load("tmr-probe", 1, seconds + BOUND, wanted) as load:
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
        f"{result.machine}. {result.seconds:g} s each; the neighbour's heartbeats, in ms: without the flood,",
        "under the same flood against another system on this machine (control), under the flood. Work:",
        "processor time of the server between request and answer.",
        "",
        "| flood | p50 | p99 | longest | work, p50 | work, p99 | p99 to that without | to control | lease |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
        *(f"| {_line(row)} |" for row in result.rows),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    found = (row.without, row.control, row.under)
    figures = " | ".join(
        " → ".join(f"{1e3 * value:.1f}" for value in values)
        for values in (
            [one.p50 for one in found],
            [one.p99 for one in found],
            [one.worst for one in found],
            [one.work50 for one in found],
            [one.work99 for one in found],
        )
    )
    kept = "kept" if row.epochs[0] == row.epochs[1] else "lost"
    to = f"{row.ratio:.1f} | {row.to_control:.1f}"
    return f"{row.kind}, {row.connections} connections | {figures} | {to} | {kept}"


if __name__ == "__main__":
    sys.exit(main())
