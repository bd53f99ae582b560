"""The report of the runs: ratios of medians in one session, with their spread, as Markdown and pictures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from bench.measure import Run

OURS = "tmr-checkout"
MANY = {"tmr-heartbeats": 100, "tmr-batch": 100}
"""Cases in which one request is about many sessions, and about how many: figures are for one of them."""
NAMES = {
    "tmr-checkout": "TMR: checkout, release",
    "tmr-heartbeats": "TMR: heartbeats, 100 sessions each (sessions)",
    "tmr-batch": "TMR: batch, 100 seats each (seats)",
    "etcd-held": "etcd: transaction on a held lease, delete",
    "etcd-held-tls": "the same over mutual TLS",
    "etcd-fresh": "etcd: lease + put",
    "etcd-put": "etcd: put",
    "redlock": "three Redis: Redlock",
    "floor": "FastAPI and uvicorn over mutual TLS, which do nothing",
}
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
- The load is one Python process for every peer, on the same event loop; HTTP/1.1 and RESP2 by hand, etcd by
  gRPC's own library.
"""


def median(runs: Iterable[Run], value: Callable[[Run], float]) -> float:
    """Of one figure over the rounds."""
    return statistics.median(map(value, runs))


def spread(runs: Iterable[Run], value: Callable[[Run], float]) -> float:
    """Largest less smallest, as a part of the median."""
    found = sorted(map(value, runs))
    middle = statistics.median(found)
    return (found[-1] - found[0]) / middle if middle else 0.0


def grouped(runs: Iterable[Run]) -> dict[tuple[str, int], list[Run]]:
    """The rounds of each case and number of clients."""
    found: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        found.setdefault((run.case, run.load.clients), []).append(run)
    return found


def markdown(runs: Sequence[Run], machine: str) -> str:
    """The report."""
    groups = grouped(runs)
    rounds = max(run.round for run in runs) + 1
    seconds = runs[0].load.seconds
    lines = [
        "# Beside what one would run instead",
        "",
        f"{machine}. {rounds} rounds of {seconds:g} s for each row, all peers in alternation.",
        "Medians; ± is half the distance between the best and the worst round. Ratios are of TMR's row with",
        "as many clients to this one; CPU is that of all servers together.",
        "",
    ]
    for clients in sorted({run.load.clients for run in runs}):
        lines += [f"## {clients} client{'s' if clients > 1 else ''}", "", *_table(groups, clients), ""]
    lines += ["![Operations a second](rates.svg)", "", "![Latency](latencies.svg)", "", NOTES]
    return "\n".join(lines)


def _table(groups: dict[tuple[str, int], list[Run]], clients: int) -> list[str]:
    ours = groups.get((OURS, clients))
    lines = [
        "| | operations/s | TMR's rate to it | p50 ms | p99 ms | TMR's p99 to it | CPU ms/op | syncs/op |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for case, name in NAMES.items():
        runs = groups.get((case, clients))
        if runs is None:
            continue
        rate, p99 = median(runs, lambda run: run.rate), median(runs, lambda run: run.load.p99)
        ratio = latency = "—"
        if ours and case not in (OURS, *MANY):
            ratio = f"{median(ours, lambda run: run.rate) / rate:.2f}"
            latency = f"{median(ours, lambda run: run.load.p99) / p99:.2f}"
        many = MANY.get(case, 1)
        cpu = median(runs, lambda run: sum(run.cpu.values()) / run.answered) / many
        syncs = median(runs, lambda run: run.syncs / run.answered) / many
        rate *= many
        lines.append(
            f"| {name} | {rate:,.0f} ± {50 * spread(runs, lambda run: run.rate):.0f} % | {ratio} "
            f"| {1e3 * median(runs, lambda run: run.load.p50):.2f} | {1e3 * p99:.2f} | {latency} "
            f"| {1e3 * cpu:.3f} | {'—' if syncs != syncs else f'{syncs:.2f}'} |"  # noqa: PLR0124 - NaN
        )
    return lines


def pictures(runs: Sequence[Run], directory: Path) -> None:
    """`rates.svg` and `latencies.svg`."""
    mpl.rcParams["svg.hashsalt"] = "tmr"
    groups = grouped(runs)
    _bars(groups, directory / "rates.svg", "operations a second", lambda run: run.rate)
    _bars(groups, directory / "latencies.svg", "p99, milliseconds", lambda run: 1e3 * run.load.p99)


def _bars(
    groups: dict[tuple[str, int], list[Run]], path: Path, label: str, value: Callable[[Run], float]
) -> None:
    numbers = sorted({clients for _, clients in groups})
    figure, axes = plt.subplots(1, len(numbers), figsize=(4 * len(numbers), 3.2), squeeze=False)
    for axis, clients in zip(axes[0], numbers, strict=True):
        cases = [case for case in NAMES if (case, clients) in groups and case not in MANY]
        for position, case in enumerate(reversed(cases)):
            found = sorted(map(value, groups[case, clients]))
            middle = statistics.median(found)
            colour = "#1f6f8b" if case == OURS else "#b8b8b8"
            error = [[middle - found[0]], [found[-1] - middle]]
            axis.barh(position, middle, xerr=error, color=colour, height=0.7, ecolor="#404040")
        names = [NAMES[case] for case in reversed(cases)] if clients == numbers[0] else [""] * len(cases)
        axis.set_yticks(range(len(cases)), names)
        axis.set_title(f"{clients} client{'s' if clients > 1 else ''}", fontsize=10)
        axis.set_xlabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
