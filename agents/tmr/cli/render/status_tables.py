# SPDX-License-Identifier: Apache-2.0
"""Tables of twins, upstreams, and licences with their votes. No I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tmr.api.deployment import DEPLOYMENTS, TMR
from tmr.api.licences import LicenceState
from tmr.api.status import HealthState, LicenceStatus, Role, Status, UpstreamStatus
from tmr.cli.render.layout import BAD, FAINT, GOOD, WARN, alarms, clock, grid, moment
from tmr.cli.render.licence_tables import use

_HEALTH: Final = {HealthState.HEALTHY: GOOD, HealthState.DEGRADED: WARN, HealthState.DOWN: BAD}
_ROLES: Final = {Role.ACTIVE: GOOD, Role.PASSIVE: FAINT, Role.CANDIDATE: WARN}


@dataclass(frozen=True, slots=True)
class TwinView:
    """Answer of one address to the question for its status: `status`, or else `error`."""

    address: str
    status: Status | None
    error: str = ""

    @property
    def active(self) -> bool:
        """Tells whether the active twin answered."""
        return self.status is not None and self.status.role is Role.ACTIVE


def status(health: HealthState, vips: Sequence[TwinView], twins: Sequence[TwinView]) -> list[RenderableType]:
    """Health, both twins side by side, the upstreams as each sees them, licences with their votes, alarms.

    A network licence server is shown by itself.
    """
    out: list[RenderableType] = [Text.assemble("Health: ", (health, _HEALTH[health]))]
    for vip in vips:
        deployment = TMR if vip.status is None else DEPLOYMENTS[vip.status.deployment]
        line = Text(f"{deployment.address} {vip.address}: ")
        if vip.status is None:
            line.append(f"silent ({vip.error})", BAD)
        else:
            line.append(f"{vip.status.name}, {vip.status.role}", _ROLES[vip.status.role])
        out.append(line)
    if container := _container([view.status for view in (*twins, *vips) if view.status is not None]):
        out.insert(1, container)
    shown = list(twins) or [vip for vip in vips if vip.status is not None][:1]
    if shown:
        out += ["", _twins(shown)]
    answered = [view.status for view in [*shown, *vips] if view.status is not None]
    if not answered:
        return out
    best = max(answered, key=lambda s: (s.role is Role.ACTIVE, s.epoch, s.commit))
    seen = [view.status for view in shown if view.status is not None] or [best]
    if first := _first_end(seen):
        out += ["", first]
    out += ["", _upstreams(seen), ""] if DEPLOYMENTS[best.deployment].replicas > 1 else [""]
    out += _licences(best.licences) if best.licences else [Text("No licences are known.")]
    return out + alarms(_alarms_of(seen))


def _container(seen: Sequence[Status]) -> str:
    """The container that users work with, as those that answered name it; empty: nobody did."""
    named = dict.fromkeys(f"{each.container}, {each.act_id}" for each in seen if each.container)
    return f"Container {' or '.join(named)}" if named else ""


def _first_end(seen: Sequence[Status]) -> str:
    """The certificate, CA or revocation list that ends first, of all machines; empty: none is known."""
    ends = [end for each in seen for end in each.certificates]
    if not ends:
        return ""
    first = min(ends, key=lambda end: (end.ends, end.machine))
    kind = {"certificate": "certificate", "ca": "CA", "crl": "revocation list"}.get(first.file, first.file)
    return f"First to end: the {kind} of {first.machine}, on {moment(first.ends)}"


def _alarms_of(seen: Sequence[Status]) -> list[str]:
    """Each alarm once, after the names of those who tell it."""
    tellers: dict[str, list[str]] = {}
    for each in seen:
        for alarm in each.alarms:
            tellers.setdefault(alarm, []).append(each.name)
    return [f"{', '.join(names)}: {alarm}" for alarm, names in tellers.items()]


def _twins(views: Sequence[TwinView]) -> Table:
    table = grid("", *(view.status.name if view.status else "no answer" for view in views))

    def row(label: str, cell: Callable[[Status], Text]) -> None:
        cells = [Text("") if view.status is None else cell(view.status) for view in views]
        table.add_row(Text(label, FAINT), *cells)

    table.add_row(Text("Address", FAINT), *(view.address for view in views))
    table.add_row(
        Text("Role", FAINT),
        *(
            Text(view.status.role, _ROLES[view.status.role]) if view.status else Text(view.error, BAD)
            for view in views
        ),
    )
    if any(view.status is not None for view in views):
        known = [view.status for view in views if view.status is not None]
        row("Health", lambda s: Text(s.health.state, _HEALTH[s.health.state]))
        row("Epoch", lambda s: Text(str(s.epoch)))
        if all(DEPLOYMENTS[status.deployment].replicas == 1 for status in known):
            row("Container", lambda s: Text(s.upstreams[0].container or "-" if s.upstreams else "-"))
        else:
            row("Lease", lambda s: Text(_lease(s)))
        row("Journal", lambda s: Text(f"{s.commit} committed"))
        row("Sessions", lambda s: Text(str(s.sessions)))
        row("Certified time", lambda s: Text(clock(s.certified_time)))
        if any(status.time_in_doubt for status in known):
            row("The clocks show", _doubtful)
        row("Version", lambda s: Text(s.version))
    return table


def _doubtful(status: Status) -> Text:
    """Times that the clocks show, where certified time does not follow them."""
    return Text("-" if status.time_in_doubt is None else moment(status.time_in_doubt), WARN)


def _lease(status: Status) -> str:
    return "-" if status.lease_remaining_ms is None else f"{status.lease_remaining_ms / 1000:.1f} s left"


def _upstreams(seen: Sequence[Status]) -> Table:
    table = grid("Upstream", "Container", "Clock", *(f"seen by {each.name}" for each in seen))
    names = dict.fromkeys(upstream.name for each in seen for upstream in each.upstreams)
    for name in names:
        views = [next((u for u in each.upstreams if u.name == name), None) for each in seen]
        container = next((view.container for view in views if view and view.container), "-")
        clocks = [view.clock_synchronised for view in views if view]
        known = next((clock for clock in clocks if clock is not None), None)
        table.add_row(name, container, _synchronised(known), *(_upstream(view) for view in views))
    return table


def _synchronised(clock: bool | None) -> Text:
    """Tells whether a time source keeps an upstream's clock; whether one should is for an alarm to say."""
    return Text("-", FAINT) if clock is None else Text("synced" if clock else "not synced")


def _upstream(view: UpstreamStatus | None) -> Text:
    if view is None:
        return Text("-", FAINT)
    since = f" since {clock(view.since)}" if view.since else ""
    if not view.reachable:
        return Text(f"unreachable{since}", BAD)
    if not view.voting:
        return Text(f"does not vote{since}", WARN)
    return Text(f"votes, {view.lag} behind" if view.lag else "votes", WARN if view.lag else GOOD)


def _licences(licences: Sequence[LicenceStatus]) -> list[RenderableType]:
    table = grid("Licence", "Name", ">In use", "Votes", "State")
    for licence in licences:
        constituents = len(licence.constituents) or 3
        votes = f"{licence.votes} of {constituents}"
        good = licence.state is LicenceState.AVAILABLE
        table.add_row(
            licence.label,
            licence.name,
            use(licence),
            Text(votes, GOOD if licence.votes >= constituents else WARN if licence.votes >= 2 else BAD),
            Text(licence.state, GOOD if good else BAD),
        )
    special = grid("Licence", "Use")
    for licence in licences:
        if noted := _noted(licence):
            special.add_row(licence.label, noted)
    return [table, "", special] if special.row_count else [table]


def _noted(licence: LicenceStatus) -> Text:
    """Notes for an operator on its use besides seats."""
    said = []
    if licence.emergency and licence.in_use:
        said.append(Text("emergency licence in use", BAD))
    if licence.waiting:
        said.append(Text(f"{licence.waiting} waiting", WARN))
    if licence.borrowed:
        said.append(Text(f"{licence.borrowed} borrowed"))
    if licence.units_remaining is not None:
        said.append(Text(f"{licence.units_remaining} units left"))
    return Text("; ").join(said)
