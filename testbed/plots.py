# SPDX-License-Identifier: Apache-2.0
"""Pictures of reports: colours, style, and the two kinds of rows that several of them draw."""

from __future__ import annotations

import io
import re
import statistics
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

COLOURS = {
    "ink": ("#1c2430", "#e7ecf3"),
    "faint": ("#68758a", "#97a5ba"),
    "grid": ("#d5dbe4", "#313b4a"),
    "paper": ("#fdfdfe", "#141a23"),
    "good": ("#12805c", "#3ecf97"),
    "bad": ("#c4243b", "#ff6b7d"),
    "silent": ("#e0556a", "#ff7d90"),
    "excused": ("#f6e3b4", "#4a3f1e"),
    "tmr1": ("#2563c9", "#6ea8ff"),
    "tmr2": ("#b45f06", "#ffae57"),
    "seats": ("#0f7f8c", "#45cbd9"),
    "slow": ("#7a4fb5", "#bb98f2"),
    "off": ("#8d99ab", "#77859a"),
    "booting": ("#c3cad5", "#46536a"),
    "power": ("#b3261e", "#ff7b70"),
    "process": ("#d9660f", "#ff9d52"),
    "frost": ("#3d8bd4", "#7cbcf5"),
    "network": ("#5b4bb7", "#a99bff"),
    "disk": ("#7d5a32", "#cfa470"),
    "clock": ("#97207c", "#ec7dd3"),
    "address": ("#c2186c", "#ff7ab5"),
    "planned": ("#4f7a28", "#a3cf72"),
}
"""Name → colour on light and on dark ground: in a picture's file the first, in a page a variable."""
LIGHT = SimpleNamespace(**{name: light for name, (light, _) in COLOURS.items()})
OURS, OTHERS = LIGHT.seats, LIGHT.off
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "tmr",
    "axes.edgecolor": LIGHT.grid,
    "axes.labelcolor": LIGHT.faint,
    "text.color": LIGHT.ink,
    "xtick.color": LIGHT.faint,
    "ytick.color": LIGHT.faint,
}
Row = tuple[str, Sequence[float], bool]
"""Label, values, whether it is ours."""


def draw(size: tuple[float, float], fill: Callable[[Figure], None]) -> str:
    """An SVG document of so many inches, the same for the same figures."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, facecolor=LIGHT.paper)
        FigureCanvasSVG(figure)
        fill(figure)
        out = io.StringIO()
        nothing: Any = {"Date": None, "Creator": None, "Type": None, "Format": None}
        figure.savefig(out, format="svg", metadata=nothing)
    return out.getvalue()


def chart(size: tuple[float, float], fill: Callable[[Axes], None]) -> str:
    """The same of one chart."""

    def whole(figure: Figure) -> None:
        axes = figure.subplots()
        fill(axes)
        plain(axes)
        figure.tight_layout()

    return draw(size, whole)


def plain(axes: Axes) -> None:
    """No frame but the axes."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def bars(axes: Axes, rows: Sequence[Row]) -> None:
    """Medians, the first row on top, with the smallest and the largest value."""
    for position, (_, values, ours) in enumerate(reversed(rows)):
        middle = statistics.median(values)
        error = [[middle - min(values)], [max(values) - middle]]
        axes.barh(position, middle, xerr=error, color=OURS if ours else OTHERS, height=0.65, ecolor=LIGHT.ink)
    axes.set_yticks(range(len(rows)), [label for label, _, _ in reversed(rows)])


def points(axes: Axes, rows: Sequence[Row]) -> None:
    """Each value a point, the median a line and a number; the first row on top."""
    for position, (_, values, ours) in enumerate(reversed(rows)):
        colour, middle = OURS if ours else OTHERS, statistics.median(values)
        axes.plot(values, [position] * len(values), "o", color=colour, alpha=0.6, markersize=5)
        axes.plot([middle, middle], [position - 0.3, position + 0.3], color=colour, linewidth=2.5)
        beside: Any = {"textcoords": "offset points", "va": "center", "fontsize": 8}
        axes.annotate(f"{middle:,.0f}", (max(values), position), (8, 0), **beside)
    axes.set_yticks(range(len(rows)), [label for label, _, _ in reversed(rows)])
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.grid(axis="x", which="major", color=LIGHT.grid)


def styles(dark: bool) -> str:
    """The colours as CSS declarations of variables."""
    return "".join(f"--{name}:{colours[dark]};" for name, colours in COLOURS.items())


def inline(svg: str, name: str) -> Markup:
    """A picture as a part of a page: no document around it, ids of its own, the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|xlink:href="#|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
    for size in ("height", "width"):
        svg = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", svg, count=1)
    for variable, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{variable})")
    return Markup(svg)  # noqa: S704 - drawn here
