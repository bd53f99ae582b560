"""The pauses as a picture: each round a point, the median a line, on a logarithmic scale."""

from __future__ import annotations

import statistics
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from bench.deployed.figures import TMR, Figures
from bench.deployed.report import rows

_OURS, _OTHERS = "#1f6f8b", "#8a8a8a"


def write(figures: Figures, path: Path) -> None:
    """An SVG; nothing where no pause was measured."""
    found = rows(figures.gaps)
    if not found:
        return
    mpl.rcParams["svg.hashsalt"] = "tmr"
    figure, axis = plt.subplots(figsize=(9, 0.42 * len(found) + 1.1))
    for position, ((_, system, _), gaps) in enumerate(reversed(found.items())):
        values = [gap.gap_ms for gap in gaps]
        colour = _OURS if system == TMR else _OTHERS
        middle = statistics.median(values)
        axis.plot(values, [position] * len(values), "o", color=colour, alpha=0.6, markersize=5)
        axis.plot([middle, middle], [position - 0.3, position + 0.3], color=colour, linewidth=2.5)
        axis.annotate(
            f"{middle:,.0f}",
            (max(values), position),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    names = [f"{event}: {system}, {setting}" for event, system, setting in reversed(found)]
    axis.set_yticks(range(len(found)), names)
    axis.set_xscale("log")
    axis.set_xlim(left=5, right=2.2 * max(gap.gap_ms for gap in figures.gaps))
    axis.set_xlabel("milliseconds in which a client finds nobody at the address")
    axis.grid(axis="x", which="major", color="#e0e0e0")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
