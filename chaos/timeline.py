# SPDX-License-Identifier: Apache-2.0
"""The picture of a campaign, on one time axis: faults above; availability, seats and epoch below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from chaos.figures import Findings
from chaos.plan import TWINS, UPSTREAMS
from chaos.records import Fault
from chaos.rules.intervals import union
from testbed import plots
from testbed.plots import LIGHT

LANES = (*TWINS, *UPSTREAMS)
_WIDTH, _HEIGHTS = 11.0, (2.5, 1.25, 1.1, 1.0, 1.0)
_NUMBERED = 70
"""So many faults are numbered in one picture; more would lie on one another."""
_BINS = 130
_STEPS = 1200
_MARGIN_S = 2.0
KINDS = {
    "power": ("power-cut", "restart-all", "twins-lost", "majority-lost"),
    "process killed": ("kill", "flapping", "no-memory"),
    "frozen": ("freeze", "vip-frozen", "host-pause", "log-frozen"),
    "network": ("cable", "front-filtered", "partition", "slow-links", "packet-loss", "rules-flushed"),
    "disk": ("disk-full", "twin-disk-full", "store-lost", "bit-flipped", "old-copies"),
    "clock": ("clock-jump", "clocks-behind", "twin-clock"),
    "flood": ("flood",),
    "address stolen": ("vip-stolen",),
    "planned": ("switchover", "lease-set", "restart"),
}
"""Subject of a fault → its kinds."""
_COLOURS = {
    "power": LIGHT.power,
    "process killed": LIGHT.process,
    "frozen": LIGHT.frost,
    "network": LIGHT.network,
    "disk": LIGHT.disk,
    "clock": LIGHT.clock,
    "flood": LIGHT.network,
    "address stolen": LIGHT.address,
    "planned": LIGHT.planned,
    "other": LIGHT.faint,
}


def draw(found: Findings, begin: float, end: float) -> str:
    """The time from `begin` to `end` (seconds) as an SVG document."""

    def fill(figure: Figure) -> None:
        axes: Sequence[Axes] = figure.subplots(
            len(_HEIGHTS), 1, sharex=True, gridspec_kw={"height_ratios": _HEIGHTS, "hspace": 0.16}
        )
        figure.subplots_adjust(left=0.085, right=0.985, top=0.93, bottom=0.06)
        for one in axes:
            plots.plain(one)
            one.spines["left"].set_visible(False)
            one.tick_params(length=0)
            one.grid(axis="x", color=LIGHT.grid, linewidth=0.6)
        _faults(axes[0], found, begin, end)
        for one, draw_one in zip(axes[1:], (_answers, _slowest, _seats, _epochs), strict=True):
            draw_one(one, found, begin, end)
            _windows(one, found, begin, end)
        axes[-1].set_xlim(begin, end)
        axes[-1].xaxis.set_major_locator(MaxNLocator(nbins=13, steps=[1, 1.5, 2, 3, 6, 10]))
        axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))
        figure.align_ylabels(list(axes))

    return plots.draw((_WIDTH, sum(_HEIGHTS) + 1.2), fill)


def clock(seconds: float) -> str:
    """Minutes and seconds, such as 2:05."""
    whole = round(seconds)
    return f"{'-' if whole < 0 else ''}{abs(whole) // 60}:{abs(whole) % 60:02}"


def _faults(axes: Axes, found: Findings, begin: float, end: float) -> None:
    """A lane for each machine; behind the faults, in grey, whether it is off or booting."""
    height = {machine: place for place, machine in enumerate(reversed(LANES))}
    for place in height.values():
        axes.axhline(place, color=LIGHT.grid, linewidth=0.8, zorder=1)
    _states(axes, found, height, begin, end)
    numbered = enumerate(found.history.faults, 1)
    visible = [(number, one) for number, one in numbered if one.began <= end and _ended(one, end) >= begin]
    legend: dict[str, str] = {}
    labelled: dict[int, float] = {}
    for number, fault in visible:
        about = next((what for what, kinds in KINDS.items() if fault.kind in kinds), "other")
        colour = legend.setdefault(about, _COLOURS[about])
        lanes = [height[machine] for machine in fault.machines if machine in height]
        length = max(_ended(fault, end) - fault.began, (end - begin) / 250)
        for place in lanes:
            axes.barh(place, length, left=fault.began, height=0.46, color=colour, zorder=3)
        if len(visible) <= _NUMBERED and begin <= fault.began <= end:
            top = max(lanes, default=0)
            near = fault.began - labelled.get(top, -math.inf) < (end - begin) / 60
            labelled[top] = -math.inf if near else fault.began
            axes.annotate(
                str(number),
                (fault.began, top + 0.27),
                xytext=(0, 8 if near else 1),
                textcoords="offset points",
                color=LIGHT.ink,
                fontsize=7,
            )
    axes.set_ylim(-0.6, len(LANES) - 0.1)
    axes.set_yticks(list(height.values()), list(height), color=LIGHT.ink)
    axes.set_ylabel("faults")
    handles = [Patch(color=colour, label=about) for about, colour in legend.items()]
    handles += [Patch(color=LIGHT.off, label="off"), Patch(color=LIGHT.booting, label="booting")]
    handles += [
        Patch(color=LIGHT.excused, label="silence excused"),
        Patch(color=LIGHT.silent, label="silence"),
    ]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(-0.005, 1.0), ncols=len(handles), frameon=False,
        handlelength=0.9, handleheight=0.9, columnspacing=1.1, handletextpad=0.4, fontsize=7.5,
    )  # fmt: skip


def _states(axes: Axes, found: Findings, height: dict[str, int], begin: float, end: float) -> None:
    """Stretches in which a machine was seen off or booting."""
    spans: dict[tuple[str, str], list[tuple[float, float]]] = {}
    looks = found.history.looked(begin - _MARGIN_S, end + _MARGIN_S)
    for (at, machines), (until, _) in pairwise(looks):
        for machine, sample in machines.items():
            if machine in height and sample.state in ("off", "booting", "stopping"):
                state = "off" if sample.state == "off" else "booting"
                spans.setdefault((machine, state), []).append((at, until))
    for (machine, state), several in spans.items():
        colour = LIGHT.off if state == "off" else LIGHT.booting
        bars = [(first, last - first) for first, last in union(several)]
        axes.broken_barh(bars, (height[machine] - 0.34, 0.12), facecolors=colour, zorder=2)


def _answers(axes: Axes, found: Findings, begin: float, end: float) -> None:
    """Answers each second, and silence."""
    width = (end - begin) / _BINS
    counts = [0] * _BINS
    for one in found.history.operations:
        if one.answered is not None and begin <= one.answered < end:
            counts[min(_BINS - 1, int((one.answered - begin) / width))] += 1
    edges = [begin + width * number for number in range(_BINS + 1)]
    rates = [count / width for count in counts]
    axes.stairs(rates, edges, fill=True, color=LIGHT.good, alpha=0.85, zorder=3)
    for outage in (one for one in found.outages if one.begin <= end and begin <= one.end):
        colour = LIGHT.silent if outage.why else LIGHT.bad
        axes.axvspan(outage.begin, outage.end, ymax=0.16, color=colour, linewidth=0, zorder=4)
    axes.set_ylim(0, max([1.0, *rates]) * 1.12)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_ylabel("answers/s")


def _slowest(axes: Axes, found: Findings, begin: float, end: float) -> None:
    """The slowest answer of those sent in each stretch of time, and requests that had none."""
    width = (end - begin) / _BINS
    worst: dict[int, float] = {}
    lost = []
    for one in found.history.operations:
        if not begin <= one.sent < end:
            continue
        if one.answered is None:
            lost.append(one.sent)
            continue
        place = int((one.sent - begin) / width)
        worst[place] = max(worst.get(place, 0.0), one.answered - one.sent)
    low, high = 0.004, max([10.0, *worst.values()]) * 2
    places = sorted(worst)
    axes.vlines(
        [begin + (place + 0.5) * width for place in places],
        low,
        [max(low, worst[place]) for place in places],
        color=LIGHT.slow,
        linewidth=2.2,
        zorder=3,
    )
    axes.plot(
        lost,
        [high / 1.5] * len(lost),
        linestyle="none",
        marker="x",
        markersize=3.5,
        color=LIGHT.bad,
        zorder=4,
    )
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.set_yticks([0.01, 0.1, 1, 10], ["10 ms", "0.1 s", "1 s", "10 s"])
    axes.minorticks_off()
    axes.set_ylabel("slowest")


def _seats(axes: Axes, found: Findings, begin: float, end: float) -> None:
    """Seats in use as the active twin says; a gap where none serves. Of too many looks the fullest ones."""
    total = sum(one.quantity for one in found.history.campaign.licences)
    looks = found.history.looked(begin - _MARGIN_S, end + _MARGIN_S)
    together = max(1, len(looks) // _STEPS)
    times, seats = [], []
    for place in range(0, len(looks), together):
        several = looks[place : place + together]
        told = [one.seats for _, machines in several for one in machines.values() if one.serving]
        known = [one for one in told if one is not None]
        times.append(several[0][0])
        seats.append(float(max(known)) if known else math.nan)
    axes.fill_between(times, seats, step="post", color=LIGHT.seats, alpha=0.22, linewidth=0, zorder=2)
    axes.step(times, seats, where="post", color=LIGHT.seats, linewidth=1.4, zorder=3)
    axes.axhline(total, color=LIGHT.faint, linewidth=0.9, linestyle=(0, (4, 3)), zorder=3)
    axes.set_ylim(0, total * 1.25 + 0.5)
    axes.set_yticks([0, total], ["0", f"{total}"])
    axes.set_ylabel("seats")


def _epochs(axes: Axes, found: Findings, begin: float, end: float) -> None:
    """Terms of the twins; each one is labelled where there is room."""
    of_twin = dict(zip(TWINS, (LIGHT.tmr1, LIGHT.tmr2), strict=True))
    spans: dict[tuple[str, int], list[tuple[float, float]]] = {}
    looks = found.history.looked(begin - _MARGIN_S, end + _MARGIN_S)
    for (at, machines), (until, _) in pairwise(looks):
        for name in TWINS:
            if name in machines and machines[name].serving:
                spans.setdefault((name, machines[name].epoch), []).append((at, until))
    for (name, epoch), several in spans.items():
        place = len(TWINS) - 1 - TWINS.index(name)
        whole = union(several)
        axes.broken_barh(
            [(first, last - first) for first, last in whole],
            (place - 0.32, 0.64),
            facecolors=of_twin[name],
            zorder=3,
        )
        first, last = max(begin, whole[0][0]), min(end, whole[-1][1])
        if last - first > (end - begin) / 36:
            axes.text(
                (first + last) / 2, place, str(epoch), color=LIGHT.paper, ha="center", va="center_baseline",
                fontsize=7.5, clip_on=True, zorder=4,
            )  # fmt: skip
    axes.set_ylim(-0.6, len(TWINS) - 0.4)
    axes.set_yticks(range(len(TWINS)), list(reversed(TWINS)), color=LIGHT.ink)
    axes.set_ylabel("epoch")


def _windows(axes: Axes, found: Findings, begin: float, end: float) -> None:
    """Windows in which silence has an excuse."""
    for first, last in union((one.begin, one.end) for one in found.excuses):
        if last < begin or end < first:
            continue
        axes.axvspan(first, last, color=LIGHT.excused, linewidth=0, zorder=0, alpha=0.75)


def _ended(fault: Fault, end: float) -> float:
    return end if fault.ended is None else fault.ended
