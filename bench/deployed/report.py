"""The report of the figures, as Markdown. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from bench.deployed.figures import AT_WORK, EVENTS, HOLDER, KEEPALIVED, TMR, Figures, Gap

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


def markdown(figures: Figures) -> str:
    """The report."""
    lines = [
        "# A deployed system, beside keepalived",
        "",
        f"{figures.machine}. Five machines and a client of the lab, {figures.rounds} "
        f"round{'s' if figures.rounds > 1 else ''}, both systems on the same twins in alternation.",
        "",
        "## Boot and deployment",
        "",
        *_deployment(figures),
        "",
        "## How long a client finds nobody at the address",
        "",
        *_gaps(rows(figures.gaps)),
        "",
        "![Pauses](deployed.svg)",
        "",
        *_application(figures.gaps),
        *_holdings(figures),
        *_missing(figures),
        NOTES,
    ]
    return "\n".join(lines)


def _deployment(figures: Figures) -> list[str]:
    each: dict[str, list[float]] = {}
    for boot in figures.boots:
        for name, seconds in boot.machines.items():
            each.setdefault(name, []).append(seconds)
    slowest = ", ".join(f"{name} {statistics.median(seconds):.1f}" for name, seconds in each.items())
    goals = figures.goals
    return [
        "| | seconds | goal |",
        "|---|--:|--:|",
        f"| lab of six machines up | {_spread([boot.all for boot in figures.boots])} | {goals['boot']:g} |",
        f"| `site.yml` on bare machines | {_spread([run.seconds for run in figures.first])} "
        f"| {goals['first']:g} |",
        f"| `site.yml`, nothing to do | {_spread([run.seconds for run in figures.unchanged])} "
        f"| {goals['unchanged']:g} |",
        "",
        f"Seconds to boot, each machine: {slowest}. Changes of the playbook: first "
        f"{', '.join(str(run.changes) for run in figures.first) or 'none'}; then "
        f"{', '.join(str(run.changes) for run in figures.unchanged) or 'none'}.",
    ]


def _spread(values: Sequence[float], digits: int = 1) -> str:
    """`median (smallest … largest)`."""
    if not values:
        return "—"
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f} … {max(values):.{digits}f})"


def _gaps(found: dict[Row, list[Gap]]) -> list[str]:
    lines = [
        "Milliseconds between the ends of two consecutive TCP connections, of which one is begun every 5 ms:",
        "median (smallest … largest). The ratio is of the row's median to TMR's first row of the same event.",
        "",
        "| event | system | ms | rounds | to TMR |",
        "|---|---|--:|--:|--:|",
    ]
    for (event, system, setting), gaps in found.items():
        ours = reference(found, event)
        values = [gap.gap_ms for gap in gaps]
        ratio = f"{statistics.median(values) / ours:.2f}" if ours else "—"
        lines.append(f"| {event} | {system}, {setting} | {_spread(values, 0)} | {len(values)} | {ratio} |")
    return lines


def _application(gaps: Iterable[Gap]) -> list[str]:
    during = [gap.requests for gap in gaps if gap.event == AT_WORK and gap.requests]
    if not during:
        return []
    errors = [error for requests in during for error in requests.errors]
    return [
        "## An application at work while the active twin faults over",
        "",
        f"It checks a licence out and gives it back all the time, through `tmr.client`. In {len(during)} "
        f"switchover{'s' if len(during) > 1 else ''} and after them: "
        f"{sum(one.asked for one in during)} requests, {sum(one.failed for one in during)} failed; the "
        f"longest wait for an answer was {_spread([one.longest_ms for one in during], 0)} ms.",
        *(f"- {error}" for error in errors),
        "",
    ]


def _holdings(figures: Figures) -> list[str]:
    if not figures.holdings:
        return []
    lines = [
        f"## {HOLDER[0].upper()}{HOLDER[1:]}",
        "",
        "All processes of `keepalived`, and `tmr-vip`, where the address is. Both twins' networks are",
        "looked at every 2 ms for 10 s.",
        "",
        "| system | rounds | holders at most | seconds with two | two at the end | pause ms "
        "| looks | ms between two, at most |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for system in (TMR, KEEPALIVED):
        found = [holding for holding in figures.holdings if holding.system == system]
        if found:
            seen = [holding.seen for holding in found]
            lines.append(
                f"| {system}, {found[0].setting} | {len(found)} | {max(one.most for one in seen)} "
                f"| {_spread([one.both_s for one in seen])} of {_spread([one.seconds for one in seen])} "
                f"| {sum(len(one.last) > 1 for one in seen)} of {len(seen)} "
                f"| {_spread([holding.gap_ms for holding in found], 0)} | {sum(one.looks for one in seen)} "
                f"| {max(one.apart_ms for one in seen):.0f} |"
            )
    return [*lines, ""]


def _missing(figures: Figures) -> list[str]:
    if not figures.missing:
        return []
    return ["## Not measured", "", *(f"- {one.what}: {one.why}" for one in figures.missing), ""]
