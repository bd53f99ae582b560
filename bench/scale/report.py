# SPDX-License-Identifier: Apache-2.0
"""The report of sizes: figures with their spread, and the goals of the project beside."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import msgspec
from matplotlib.axes import Axes

from bench.measure import Run
from bench.scale.catch_up import CatchUp
from bench.scale.cost import Cost, Size
from bench.scale.pauses import Paused
from bench.scale.sessions import Sessions
from bench.scale.takeover import Takeover
from testbed import plots
from testbed.figures import Latency, half_spread, median
from testbed.plots import LIGHT, OTHERS, OURS
from testbed.report import Part, Picture, Report, Section, Table

KIB = 1024.0
_SIZE = (7.0, 3.2)


class Results(msgspec.Struct):
    """Of each case the last run. `runs`: machine and date of it."""

    short: bool = False
    runs: dict[str, str] = {}
    cost: Cost | None = None
    sessions: Sessions | None = None
    pauses: Paused | None = None
    takeover: Takeover | None = None
    catch_up: CatchUp | None = None


def describe(results: Results) -> Report:
    """The report, of the cases that were measured."""
    sections: list[tuple[str, str, list[Part]]] = []
    if results.cost is not None:
        sections.append(("cost", "Cost of a checkout", cost(results.cost)))
    if results.sessions is not None:
        sections.append(("sessions", "Sessions held", sessions(results.sessions)))
    if results.pauses is not None:
        sections.append(("pauses", "Pauses of the active twin", pauses(results.pauses)))
    if results.takeover is not None:
        sections.append(("takeover", "Takeover", takeover(results.takeover)))
    if results.catch_up is not None:
        sections.append(("catch-up", "Catching up", catch_up(results.catch_up)))
    return Report(
        "What depends on size",
        ("A short run: to see that it works, not to judge. " if results.short else "")
        + "Real daemons on loopback, TLS everywhere, leases as by default; load from processes of their own; "
        "all on the same processors and disk. Medians; ± is half the distance from the best to the worst.",
        sections=[
            Section(title, [f"{results.runs.get(case, 'A run')}.", *parts]) for case, title, parts in sections
        ],
    )


def _table(*head: str, rows: Sequence[tuple[str, ...]], text: int = 1) -> Table:
    """`text`: so many columns at the left are no numbers."""
    return Table(head, rows, frozenset(range(text, len(head))))


def _ms(seconds: float, digits: int = 2) -> str:
    return f"{1e3 * seconds:.{digits}f}"


def _cpu(run: Run) -> float:
    return 1e3 * sum(run.cpu.values()) / run.answered


def cost(found: Cost) -> list[Part]:
    """Both sizes, and their ratios."""
    small, large = found.small, found.large

    def row(name: str, value: Callable[[Run], float], digits: int, goal: str = "") -> tuple[str, ...]:
        ratio = median(large.runs, value) / median(small.runs, value)
        cells = (
            f"{median(size.runs, value):,.{digits}f} ± {half_spread(size.runs, value):.0f} %"
            for size in (small, large)
        )
        return (name, *cells, f"{ratio:.2f}", goal)

    def active(run: Run) -> float:
        return 1e3 * max(run.cpu[name] for name in run.cpu if name.startswith("tmr")) / run.answered

    def fill(axes: Axes) -> None:
        plots.bars(axes, [(_size(size), [*map(_cpu, size.runs)], size is large) for size in (large, small)])
        axes.set_xlabel("processor time of all servers, ms for an operation")

    return [
        f"{found.clients} clients check out and release; {len(small.runs)} rounds of "
        f"{small.runs[0].seconds:g} s of each, in turn.",
        _table(
            *("", _size(small), _size(large), "ratio", "goal"),
            rows=[
                row("operations/s", lambda run: run.rate, 0),
                row("p50 ms", lambda run: 1e3 * run.load.p50, 2),
                row("p99 ms", lambda run: 1e3 * run.load.p99, 2),
                row("CPU of all servers, ms/operation", _cpu, 2, "≤ 1.2"),
                row("CPU of the active twin, ms/operation", active, 2),
            ],
        ),
        f"The containers of the large system were assembled in {large.assembled:.1f} s, its sessions opened "
        f"in {large.opened:.0f} s ({large.sessions / max(large.opened, 1e-9):,.0f}/s).",
        Picture("cost.svg", "Cost", plots.chart(_SIZE, fill)),
    ]


def _size(size: Size) -> str:
    return f"{size.sessions:,} sessions, {size.licences:,} licences"


def sessions(found: Sessions) -> list[Part]:
    """Processor and memory of each daemon."""
    rows = []
    for name in found.cpu:
        role = "active" if name == found.active else "passive" if name.startswith("tmr") else "upstream"
        rows.append(
            (
                f"{name}, {role}",
                f"{100 * found.idle.get(name, 0.0):.1f} %",
                f"{100 * found.cpu[name]:.1f} %",
                "< 25 %" if role == "active" else "",
                f"{(found.held[name] - found.worn[name]) / KIB / found.sessions:.2f}",
                f"{(found.held[name] - found.fresh[name]) / KIB / found.sessions:.2f}",
                "≤ 1.5" if role != "passive" else "",
            )
        )
    kept = found.kept
    return [
        f"{found.sessions:,} sessions, each with a heartbeat every {found.every:g} s in requests for 100, "
        f"evenly spread; watched for {found.window:.0f} s. Opened in {found.opened:.0f} s.",
        _table(
            *(
                "",
                "one processor, idle",
                "with the sessions",
                "goal",
                "KiB a session",
                "since the start",
                "goal",
            ),
            rows=rows,
        ),
        f"KiB a session: resident memory with all of them, less that after {found.churn:,} commands (what is "
        "remembered of these for retries is bounded, and there by then), divided. Since the start: less "
        "that of the fresh system.",
        f"{kept.count:,} requests for heartbeats: p50 {_ms(kept.p50, 1)} ms, p99 {_ms(kept.p99, 1)} ms, "
        f"longest {_ms(kept.worst, 1)} ms.",
    ]


def pauses(found: Paused) -> list[Part]:
    """The probe's latencies, and those of the checkouts."""
    light, heavy = found.probed.took, found.checkouts

    def fill(axes: Axes) -> None:
        parts = found.probed.quantiles
        axes.plot([1e3 * seconds for _, seconds in parts], [1 - part for part, _ in parts], color=OURS)
        axes.axvline(1e3 * found.limit, color=OTHERS, linestyle="--")
        axes.set(
            xscale="log", yscale="log", xlabel="ms", ylabel="part of the light requests that took longer"
        )

    return [
        f"{found.sessions:,} sessions kept alive, {found.rate:g} checkouts and releases a second, for "
        f"{found.minutes:g} minutes; {found.commands:,} commands were committed. A heartbeat for one session "
        "every 5 ms on a connection of its own: what it takes is at least what the active twin does without "
        "a break.",
        _table(
            *("", "p50 ms", "p99 ms", "p99.9 ms", "longest ms", f"over {1e3 * found.limit:g} ms", "goal"),
            rows=[
                (
                    *(
                        "light request",
                        _ms(light.p50),
                        _ms(light.p99),
                        _ms(light.p999, 1),
                        _ms(light.worst, 1),
                    ),
                    *(f"{found.probed.over} of {light.count:,}", "longest ≤ 50"),
                ),
                (
                    *("checkout, release", _ms(heavy.p50), _ms(heavy.p99), _ms(heavy.p999, 1)),
                    *(_ms(heavy.worst, 1), "", ""),
                ),
            ],
        ),
        f"The probe itself was late by {_ms(found.probed.late, 1)} ms at most. The active twin was ready and "
        f"had no processor for {100 * found.waited:.1f} % of the time.",
        Picture("pauses.svg", "Pauses", plots.chart(_SIZE, fill)),
    ]


def takeover(found: Takeover) -> list[Part]:
    """The three states, as ratios to the first."""
    base = statistics.median(found.empty.seconds)
    states = (found.empty, found.long, found.held)

    def fill(axes: Axes) -> None:
        rows = [
            (
                f"{one.commands:,} commands\n{one.sessions:,} sessions",
                [1e3 * second for second in one.seconds],
                one is not found.empty,
            )
            for one in states
        ]
        plots.points(axes, rows)
        axes.set_xlim(left=0)
        axes.set_xlabel("ms from kill -9 to the first checkout")

    return [
        f"Lease of {found.ttl:g} s; the release is sent by the code of tmr-vip. No virtual address: the "
        "client tries the ports of both twins every 2 ms.",
        _table(
            *(
                "commands",
                "entries",
                "sessions held",
                "kills",
                "median ms",
                "fastest, slowest",
                "ratio",
                "goal",
            ),
            rows=[
                (
                    *(f"{one.commands:,}", f"{one.entries:,}", f"{one.sessions:,}", f"{len(one.seconds)}"),
                    _ms(statistics.median(one.seconds), 0),
                    f"{_ms(min(one.seconds), 0)}, {_ms(max(one.seconds), 0)}",
                    f"{statistics.median(one.seconds) / base:.2f}",
                    "1 ± 0.2" if one is found.long else "",
                )
                for one in states
            ],
            text=0,
        ),
        Picture("takeover.svg", "Takeover", plots.chart(_SIZE, fill)),
    ]


def catch_up(found: CatchUp) -> list[Part]:
    """Seconds, and what clients noticed."""

    def row(name: str, one: Latency, goal: str = "") -> tuple[str, ...]:
        figures = (f"{one.count:,}", _ms(one.p50), _ms(one.p99), _ms(one.worst, 0))
        return (name, *figures, f"{one.p99 / found.before.p99:.2f}", goal)

    def fill(axes: Axes) -> None:
        seconds = [second for second, _, _ in found.line]
        axes.plot(seconds, [1e3 * p99 for _, _, p99 in found.line], color=OURS, label="p99")
        axes.plot(seconds, [1e3 * p50 for _, p50, _ in found.line], color=OTHERS, label="p50")
        axes.axhline(1e3 * found.before.p99, color=OURS, linestyle=":", label="p99 before")
        for at in (0.0, found.whole, found.recorded):
            axes.axvline(at, color=LIGHT.ink, linewidth=0.8)
        axes.set_ylim(bottom=0)
        axes.set(
            xlabel="s from its start; lines: start, whole, with the record", ylabel="checkout or release, ms"
        )
        axes.legend(frameon=False)

    return [
        f"One upstream was away for {found.commands:,} commands, which were {found.missed:,} entries. It was "
        f"caught up by {found.way}.",
        _table(
            *("from the start of its process", "s", "goal"),
            rows=[
                ("it answers", f"{found.answers:.1f}", ""),
                ("it votes and has all that is committed", f"{found.whole:.1f}", "≤ 60"),
                ("it has all lines of the licence tracking record", f"{found.recorded:.1f}", ""),
            ],
        ),
        _table(
            *(
                f"{found.clients} clients",
                "operations",
                "p50 ms",
                "p99 ms",
                "longest ms",
                "p99 to before",
                "goal",
            ),
            rows=[
                row("before, three upstreams", found.before),
                row("while it was away", found.two),
                row("from its start until it was whole", found.during, "≤ 2"),
                row("until it had the record", found.filling),
            ],
        ),
        f"{found.turned_away} requests were turned away meanwhile, and tried again.",
        Picture("catch-up.svg", "Catching up", plots.chart(_SIZE, fill)),
    ]
