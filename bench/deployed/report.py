# SPDX-License-Identifier: Apache-2.0
"""The report of a deployed system beside keepalived."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from matplotlib.axes import Axes

from bench.deployed.figures import AT_WORK, EVENTS, HOLDER, KEEPALIVED, TMR, Figures, Gap
from testbed import plots
from testbed.figures import spread
from testbed.report import Notes, Part, Picture, Report, Section, Table

Row = tuple[str, str, str]
"""Event, system, setting."""

NOTES = """\
What differs, and should be kept in mind:
- keepalived moves an address, and knows nothing of what is behind it: here a program that accepts
  connections, with no state, which runs on both twins all the time. TMR's pause includes that two of three
  upstreams have elected the other twin, and that this twin has the whole journal and serves: it claims the
  address after that.
- keepalived does not watch the service: with its defaults a dead server behind the address stays unnoticed,
  and so the row of the killed server has nothing to compare with. It can be given a script that looks.
- TMR's address is nowhere for a moment rather than on two twins: who has it must have the lease of two
  upstreams. VRRP decides by what the other machine does not say. A shorter `advert_int` makes the pause
  shorter, and a twin that is late by three of them then has a rival.
- With a pulled front cable keepalived's backup hears nothing any more, and has to wait as after a power
  cut: its advertisements go over the network whose cable was pulled, as by default. TMR gives its lease
  back over the other network. keepalived can be made to speak over that one, too.
- The prober opens a TCP connection every 5 ms: no figure is finer than that, and an undisturbed address
  shows 5 ms. What the client machine needs to learn the new MAC address is in the pause, for both.
- TMR answers each of these connections with the beginning of a TLS handshake, which the listener behind
  keepalived does not. TMR runs meanwhile when keepalived is measured; keepalived is not running when TMR
  is.
- keepalived: VRRP 2 with `advert_int` 1, its default; VRRP 3 where less than a second is asked for. Both
  twins have the same priority and `nopreempt`, so that who comes back takes nothing, as with TMR.
- All machines are containers on one host with few processors, and their disks are in memory: a boot and a
  playbook wait for processors, and networks lose nothing. The first playbook builds the release as well,
  if no earlier one has.
"""


def rows(gaps: Iterable[Gap]) -> dict[Row, list[Gap]]:
    """The rounds of each event, system and setting, in the order of the report."""
    found: dict[Row, list[Gap]] = {}
    for gap in gaps:
        found.setdefault((gap.event, gap.system, gap.setting), []).append(gap)
    order = {event: number for number, event in enumerate(EVENTS)}
    return dict(sorted(found.items(), key=lambda item: (order[item[0][0]], item[0][1] != TMR)))


def reference(found: dict[Row, list[Gap]], event: str) -> float | None:
    """TMR's median for an event with the lease it has by default: that of the first row."""
    for (happened, system, _), gaps in found.items():
        if (happened, system) == (event, TMR):
            return statistics.median(gap.gap_ms for gap in gaps)
    return None


def describe(figures: Figures) -> Report:
    """The report."""
    found = rows(figures.gaps)
    sections = [
        Section("Boot and deployment", _deployment(figures)),
        Section("How long a client finds nobody at the address", _gaps(found)),
        Section("An application at work while the active twin hands over", _application(figures.gaps)),
        Section(f"{HOLDER[0].upper()}{HOLDER[1:]}", _holdings(figures)),
        Section("Not measured", [f"{one.what}: {one.why}" for one in figures.missing]),
        Section("Notes", [Notes.of(NOTES)]),
    ]
    return Report(
        "A deployed system, beside keepalived",
        f"{figures.machine}. Five machines and a client of the lab, {figures.rounds} "
        f"round{'s' if figures.rounds > 1 else ''}, both systems on the same twins in alternation.",
        sections=[section for section in sections if section.parts],
    )


def _deployment(figures: Figures) -> list[Part]:
    each: dict[str, list[float]] = {}
    for boot in figures.boots:
        for name, seconds in boot.machines.items():
            each.setdefault(name, []).append(seconds)
    slowest = ", ".join(f"{name} {statistics.median(seconds):.1f}" for name, seconds in each.items())
    measured = {
        ("lab of six machines up", "boot"): [boot.all for boot in figures.boots],
        ("`site.yml` on bare machines", "first"): [run.seconds for run in figures.first],
        ("`site.yml`, nothing to do", "unchanged"): [run.seconds for run in figures.unchanged],
    }
    lines = [(what, spread(found), f"{figures.goals[goal]:g}") for (what, goal), found in measured.items()]
    return [
        Table(("", "seconds", "goal"), lines, frozenset({1, 2})),
        f"Seconds to boot, each machine: {slowest}. Changes of the playbook: first "
        f"{', '.join(str(run.changes) for run in figures.first) or 'none'}; then "
        f"{', '.join(str(run.changes) for run in figures.unchanged) or 'none'}.",
    ]


def _gaps(found: dict[Row, list[Gap]]) -> list[Part]:
    lines = []
    for (event, system, setting), gaps in found.items():
        ours, values = reference(found, event), [gap.gap_ms for gap in gaps]
        ratio = f"{statistics.median(values) / ours:.2f}" if ours else "—"
        lines.append((event, f"{system}, {setting}", spread(values, 0), str(len(values)), ratio))

    def fill(axes: Axes) -> None:
        plots.points(
            axes,
            [
                (f"{event}: {system}, {setting}", [gap.gap_ms for gap in gaps], system == TMR)
                for (event, system, setting), gaps in found.items()
            ],
        )
        longest = max(gap.gap_ms for gaps in found.values() for gap in gaps)
        axes.set(xscale="log", xlabel="milliseconds in which a client finds nobody at the address")
        axes.set_xlim(left=5, right=2.2 * longest)

    picture = plots.chart((9, 0.42 * len(found) + 1.1), fill) if found else ""
    return [
        "Milliseconds between the ends of two consecutive TCP connections, of which one is begun every 5 ms: "
        "median (smallest … largest). The ratio is of the row's median to TMR's first row of the same event.",
        Table(("event", "system", "ms", "rounds", "to TMR"), lines, frozenset({2, 3, 4})),
        *([Picture("deployed.svg", "Pauses", picture)] if picture else []),
    ]


def _application(gaps: Iterable[Gap]) -> list[Part]:
    during = [gap.requests for gap in gaps if gap.event == AT_WORK and gap.requests]
    if not during:
        return []
    errors = tuple(error for requests in during for error in requests.errors)
    text = (
        f"It checks a licence out and gives it back all the time, through `tmr.client`. In {len(during)} "
        f"switchover{'s' if len(during) > 1 else ''} and after them: "
        f"{sum(one.asked for one in during)} requests, {sum(one.failed for one in during)} failed; the "
        f"longest wait for an answer was {spread([one.longest_ms for one in during], 0)} ms."
    )
    return [Notes(text, errors)]


def _holdings(figures: Figures) -> list[Part]:
    lines = []
    for system in (TMR, KEEPALIVED):
        found = [holding for holding in figures.holdings if holding.system == system]
        if found:
            seen = [holding.seen for holding in found]
            lines.append(
                (
                    f"{system}, {found[0].setting}",
                    str(len(found)),
                    str(max(one.most for one in seen)),
                    f"{spread([one.both_s for one in seen])} of {spread([one.seconds for one in seen])}",
                    f"{sum(len(one.last) > 1 for one in seen)} of {len(seen)}",
                    spread([holding.gap_ms for holding in found], 0),
                    str(sum(one.looks for one in seen)),
                    f"{max(one.apart_ms for one in seen):.0f}",
                )
            )
    if not lines:
        return []
    head = ("system", "rounds", "holders at most", "seconds with two", "two at the end", "pause ms", "looks")
    return [
        "All processes of `keepalived`, and `tmr-vip`, where the address is. Both twins' networks are looked "
        "at every 2 ms for 10 s.",
        Table((*head, "ms between two, at most"), lines, frozenset(range(1, 8))),
    ]
