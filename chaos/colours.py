"""The colours of a report: in a file of its own as they are, in the page as variables, light and dark."""

from __future__ import annotations

INK, FAINT, GRID, PAPER = "#1c2430", "#68758a", "#d5dbe4", "#fdfdfe"
GOOD, BAD, SILENT, EXCUSED = "#12805c", "#c4243b", "#e0556a", "#f6e3b4"
TMR1, TMR2, SEATS, SLOW = "#2563c9", "#b45f06", "#0f7f8c", "#7a4fb5"
OFF, BOOTING = "#8d99ab", "#c3cad5"
POWER, PROCESS, FROST, NETWORK, DISK, CLOCK, ADDRESS, PLANNED = (
    "#b3261e",
    "#d9660f",
    "#3d8bd4",
    "#5b4bb7",
    "#7d5a32",
    "#97207c",
    "#c2186c",
    "#4f7a28",
)

KINDS = {
    "power-cut": ("power", POWER),
    "restart-all": ("power", POWER),
    "twins-lost": ("power", POWER),
    "majority-lost": ("power", POWER),
    "kill": ("process killed", PROCESS),
    "flapping": ("process killed", PROCESS),
    "freeze": ("frozen", FROST),
    "vip-frozen": ("frozen", FROST),
    "cable": ("network", NETWORK),
    "front-filtered": ("network", NETWORK),
    "partition": ("network", NETWORK),
    "disk-full": ("disk", DISK),
    "store-lost": ("disk", DISK),
    "bit-flipped": ("disk", DISK),
    "old-copies": ("disk", DISK),
    "slow-links": ("network", NETWORK),
    "lease-set": ("planned", PLANNED),
    "restart": ("planned", PLANNED),
    "host-pause": ("frozen", FROST),
    "clocks-behind": ("clock", CLOCK),
    "clock-jump": ("clock", CLOCK),
    "flood": ("flood", NETWORK),
    "vip-stolen": ("address stolen", ADDRESS),
    "switchover": ("planned", PLANNED),
}
"""Kind of fault → what it is about, colour."""
OTHER = ("other", FAINT)

VARIABLES = {
    "ink": (INK, "#e7ecf3"),
    "faint": (FAINT, "#97a5ba"),
    "grid": (GRID, "#313b4a"),
    "paper": (PAPER, "#141a23"),
    "good": (GOOD, "#3ecf97"),
    "bad": (BAD, "#ff6b7d"),
    "silent": (SILENT, "#ff7d90"),
    "excused": (EXCUSED, "#4a3f1e"),
    "tmr1": (TMR1, "#6ea8ff"),
    "tmr2": (TMR2, "#ffae57"),
    "seats": (SEATS, "#45cbd9"),
    "slow": (SLOW, "#bb98f2"),
    "off": (OFF, "#77859a"),
    "booting": (BOOTING, "#46536a"),
    "power": (POWER, "#ff7b70"),
    "process": (PROCESS, "#ff9d52"),
    "frost": (FROST, "#7cbcf5"),
    "network": (NETWORK, "#a99bff"),
    "disk": (DISK, "#cfa470"),
    "clock": (CLOCK, "#ec7dd3"),
    "address": (ADDRESS, "#ff7ab5"),
    "planned": (PLANNED, "#a3cf72"),
}
"""Name → colour on light and on dark ground."""


def styles(dark: bool) -> str:
    """The variables as CSS declarations."""
    return "".join(f"--{name}:{colours[dark]};" for name, colours in VARIABLES.items())


def variable(svg: str) -> str:
    """A picture whose colours are the page's variables."""
    for name, (light, _) in VARIABLES.items():
        svg = svg.replace(light, f"var(--{name})")
    return svg
