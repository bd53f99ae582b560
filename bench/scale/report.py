"""The report of the figures, as Markdown and pictures: their spread, and the goals of the project beside."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import msgspec
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from bench.measure import Run
from bench.report import median, spread
from bench.scale.catch_up import CatchUp, Latency
from bench.scale.cost import Cost, Size
from bench.scale.pauses import Paused
from bench.scale.sessions import Sessions
from bench.scale.takeover import Row, Takeover

OURS, OTHER = "#1f6f8b", "#b8b8b8"
KIB = 1024.0


class Results(msgspec.Struct):
    """Of each case the last run. `runs`: machine and date of it."""

    short: bool = False
    runs: dict[str, str] = {}
    cost: Cost | None = None
    sessions: Sessions | None = None
    pauses: Paused | None = None
    takeover: Takeover | None = None
    catch_up: CatchUp | None = None


def markdown(results: Results) -> str:
    """The report, of the cases that were measured."""
    lines = ["# What depends on size", ""]
    if results.short:
        lines += ["A short run: to see that it works, not to judge.", ""]
    lines += [
        "Real daemons on loopback, TLS everywhere, leases as by default; load from processes of their own;",
        "all on the same processors and disk. Medians; ± is half the distance from the best to the worst.",
        "",
    ]
    sections: list[tuple[str, str, list[str]]] = []
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
    for case, title, section in sections:
        lines += [f"## {title}", "", f"{results.runs.get(case, 'A run')}.", "", *section, ""]
    return "\n".join(lines)


# -- tables ------------------------------------------------------------------------------------------------


def cost(found: Cost) -> list[str]:
    """Both sizes, and their ratios."""
    small, large = found.small, found.large

    def row(name: str, value: Callable[[Run], float], digits: int, goal: str = "") -> str:
        before, after = median(small.runs, value), median(large.runs, value)
        cells = [
            f"{median(size.runs, value):,.{digits}f} ± {50 * spread(size.runs, value):.0f} %"
            for size in (small, large)
        ]
        return f"| {name} | {' | '.join(cells)} | {after / before:.2f} | {goal} |"

    def cpu(run: Run) -> float:
        return 1e3 * sum(run.cpu.values()) / run.answered

    def active(run: Run) -> float:
        return 1e3 * max(run.cpu[name] for name in run.cpu if name.startswith("tmr")) / run.answered

    return [
        f"{found.clients} clients check out and release; {len(small.runs)} rounds of "
        f"{small.runs[0].load.seconds:g} s of each, in turn.",
        "",
        f"| | {_size(small)} | {_size(large)} | ratio | goal |",
        "|---|--:|--:|--:|--:|",
        row("operations/s", lambda run: run.rate, 0),
        row("p50 ms", lambda run: 1e3 * run.load.p50, 2),
        row("p99 ms", lambda run: 1e3 * run.load.p99, 2),
        row("CPU of all servers, ms/operation", cpu, 2, "≤ 1.2"),
        row("CPU of the active twin, ms/operation", active, 2),
        "",
        f"The containers of the large system were assembled in {large.assembled:.1f} s, its sessions opened "
        f"in {large.opened:.0f} s ({large.sessions / max(large.opened, 1e-9):,.0f}/s).",
        "",
        "![Cost](cost.svg)",
    ]


def _size(size: Size) -> str:
    return f"{size.sessions:,} sessions, {size.licences:,} licences"


def sessions(found: Sessions) -> list[str]:
    """Processor and memory of each daemon."""
    lines = [
        f"{found.sessions:,} sessions, each with a heartbeat every {found.every:g} s in requests for 100, "
        f"evenly spread; watched for {found.window:.0f} s. Opened in {found.opened:.0f} s.",
        "",
        "| | one processor, idle | with the sessions | goal | KiB a session | since the start | goal |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in found.cpu:
        role = "active" if name == found.active else "passive" if name.startswith("tmr") else "upstream"
        goals = ("< 25 %" if role == "active" else ""), ("≤ 1.5" if role != "passive" else "")
        lines.append(
            f"| {name}, {role} | {100 * found.idle.get(name, 0.0):.1f} % | {100 * found.cpu[name]:.1f} % "
            f"| {goals[0]} | {per_session(found.held[name] - found.worn[name], found.sessions):.2f} "
            f"| {per_session(found.held[name] - found.fresh[name], found.sessions):.2f} | {goals[1]} |"
        )
    kept = found.kept
    return [
        *lines,
        "",
        f"KiB a session: resident memory with all of them, less that after {found.churn:,} commands (what is "
        "remembered of these for retries is bounded, and there by then), divided. *Since the start*: less "
        "that of the fresh system.",
        "",
        f"{kept.requests:,} requests for heartbeats: p50 {1e3 * kept.p50:.1f} ms, "
        f"p99 {1e3 * kept.p99:.1f} ms, longest {1e3 * kept.worst:.1f} ms.",
    ]


def per_session(size: int, count: int) -> float:
    """KiB."""
    return size / KIB / count


def pauses(found: Paused) -> list[str]:
    """The probe's latencies, and those of the checkouts."""
    light, heavy = found.probed, found.checkouts
    return [
        f"{found.sessions:,} sessions kept alive, {found.rate:g} checkouts and releases a second, for "
        f"{found.minutes:g} minutes; {found.commands:,} commands were committed. A heartbeat for one session "
        "every 5 ms on a connection of its own: what it takes is at least what the active twin does without "
        "a break.",
        "",
        f"| | p50 ms | p99 ms | p99.9 ms | longest ms | over {1e3 * found.limit:g} ms | goal |",
        "|---|--:|--:|--:|--:|--:|--:|",
        f"| light request | {1e3 * light.p50:.2f} | {1e3 * light.p99:.2f} | {1e3 * light.p999:.1f} "
        f"| {1e3 * light.worst:.1f} | {light.over} of {light.count:,} | longest ≤ 50 |",
        f"| checkout, release | {1e3 * heavy['p50']:.2f} | {1e3 * heavy['p99']:.2f} "
        f"| {1e3 * heavy['p999']:.1f} | {1e3 * heavy['worst']:.1f} | | |",
        "",
        f"The probe itself was late by {1e3 * light.late:.1f} ms at most. The active twin was ready and had "
        f"no processor for {100 * found.waited:.1f} % of the time.",
        "",
        "![Pauses](pauses.svg)",
    ]


def takeover(found: Takeover) -> list[str]:
    """The three states, as ratios to the first."""
    base = statistics.median(found.empty.seconds)
    lines = [
        f"Lease of {found.ttl:g} s; the last will is sent by the code of tmr-vip. No virtual address: the "
        "client tries the ports of both twins every 2 ms.",
        "",
        "| commands | entries | sessions held | kills | median ms | fastest, slowest | ratio | goal |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in (found.empty, found.long, found.held):
        middle = statistics.median(row.seconds)
        goal = "1 ± 0.2" if row is found.long else ""
        lines.append(
            f"| {row.commands:,} | {row.entries:,} | {row.sessions:,} | {len(row.seconds)} "
            f"| {1e3 * middle:.0f} | {1e3 * min(row.seconds):.0f}, {1e3 * max(row.seconds):.0f} "
            f"| {middle / base:.2f} | {goal} |"
        )
    return [*lines, "", "![Takeover](takeover.svg)"]


def catch_up(found: CatchUp) -> list[str]:
    """Seconds, and what clients noticed."""

    def row(name: str, one: Latency, goal: str = "") -> str:
        ratio = one.p99 / found.before.p99
        return (
            f"| {name} | {one.count:,} | {1e3 * one.p50:.2f} | {1e3 * one.p99:.2f} | {1e3 * one.worst:.0f} "
            f"| {ratio:.2f} | {goal} |"
        )

    return [
        f"One upstream was away for {found.commands:,} commands, which were {found.missed:,} entries. It was "
        f"caught up by {found.way}.",
        "",
        "| from the start of its process | s | goal |",
        "|---|--:|--:|",
        f"| it answers | {found.answers:.1f} | |",
        f"| it votes and has all that is committed | {found.whole:.1f} | ≤ 60 |",
        f"| it has all lines of the licence tracking record | {found.recorded:.1f} | |",
        "",
        f"| {found.clients} clients | operations | p50 ms | p99 ms | longest ms | p99 to before | goal |",
        "|---|--:|--:|--:|--:|--:|--:|",
        row("before, three upstreams", found.before),
        row("while it was away", found.two),
        row("from its start until it was whole", found.during, "≤ 2"),
        row("until it had the record", found.filling),
        "",
        f"{found.turned_away} requests were turned away meanwhile, and tried again.",
        "",
        "![Catching up](catch-up.svg)",
    ]


# -- pictures ----------------------------------------------------------------------------------------------


def pictures(results: Results, directory: Path) -> None:
    """One for each case that has one."""
    mpl.rcParams["svg.hashsalt"] = "tmr"
    if (paid := results.cost) is not None:
        _picture(directory / "cost.svg", lambda axes: _cost(axes, paid))
    if (paused := results.pauses) is not None:
        _picture(directory / "pauses.svg", lambda axes: _pauses(axes, paused))
    if (taken := results.takeover) is not None:
        _picture(directory / "takeover.svg", lambda axes: _takeover(axes, taken))
    if (caught := results.catch_up) is not None:
        _picture(directory / "catch-up.svg", lambda axes: _catch_up(axes, caught))


def _picture(path: Path, draw: Callable[[Axes], None]) -> None:
    figure, axes = plt.subplots(figsize=(7, 3.2))
    draw(axes)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _cost(axes: Axes, found: Cost) -> None:
    for position, (size, colour) in enumerate(((found.small, OTHER), (found.large, OURS))):
        values = sorted(1e3 * sum(run.cpu.values()) / run.answered for run in size.runs)
        middle = statistics.median(values)
        error = [[middle - values[0]], [values[-1] - middle]]
        axes.barh(position, middle, xerr=error, color=colour, height=0.6, ecolor="#404040")
    axes.set_yticks([0, 1], [_size(found.small), _size(found.large)])
    axes.set_xlabel("processor time of all servers, ms for an operation")


def _pauses(axes: Axes, found: Paused) -> None:
    parts = found.probed.quantiles
    axes.plot([1e3 * seconds for _, seconds in parts], [1 - part for part, _ in parts], color=OURS)
    axes.axvline(1e3 * found.limit, color=OTHER, linestyle="--")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("ms")
    axes.set_ylabel("part of the light requests that took longer")


def _takeover(axes: Axes, found: Takeover) -> None:
    rows = (found.empty, found.long, found.held)
    for position, row in enumerate(rows):
        colour = OTHER if row is found.empty else OURS
        axes.plot([1e3 * one for one in row.seconds], [position] * len(row.seconds), "o", color=colour)
    axes.set_yticks(range(len(rows)), [_state(row) for row in rows])
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel("ms from kill -9 to the first checkout")


def _state(row: Row) -> str:
    return f"{row.commands:,} commands\n{row.sessions:,} sessions"


def _catch_up(axes: Axes, found: CatchUp) -> None:
    seconds: Sequence[float] = [second for second, _, _ in found.line]
    axes.plot(seconds, [1e3 * p99 for _, _, p99 in found.line], color=OURS, label="p99")
    axes.plot(seconds, [1e3 * p50 for _, p50, _ in found.line], color=OTHER, label="p50")
    axes.axhline(1e3 * found.before.p99, color=OURS, linestyle=":", label="p99 before")
    for at in (0.0, found.whole, found.recorded):
        axes.axvline(at, color="#404040", linewidth=0.8)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("s from its start; lines: start, whole, with the record")
    axes.set_ylabel("checkout or release, ms")
    axes.legend(frameon=False)
