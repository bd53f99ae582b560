"""Tables of the client API's answers for people: for 80 columns, and for a pipe. No I/O.

Times are shown in the local time zone.
"""

import datetime as dt
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tmr.api.errors import NoService, TmrError, TwinAnswer
from tmr.api.explain import Candidate
from tmr.api.fields import UNFIT
from tmr.api.licences import (
    Constituent,
    ConstituentState,
    Container,
    Holder,
    Item,
    ItemList,
    LicenceState,
    Unavailable,
)
from tmr.api.sessions import HeldSession, QueuedRequest
from tmr.api.status import HealthState, LicenceStatus, Role, Status, UpstreamStatus
from tmr.cli.ids import spelled
from tmr.cli.spelling import bits_of, written_period

GOOD: Final = "green"
WARN: Final = "yellow"
BAD: Final = "bold red"
FAINT: Final = "dim"
SOON: Final = dt.timedelta(days=30)
"""A licence that expires within this time is marked."""
WIDEST: Final = 1000
"""Columns: no table is wider."""
PROBLEM_ROWS: Final = 30
"""Rows of one table in an error: enough to see what is wrong."""

_UNFIT: Final = re.compile(f"(?!\n)[{UNFIT}]")

# Columns that keep to one line: in narrow tables the others give way.
_ONE_LINE: Final = frozenset(
    ("Licence", "Mode", "Held by", "In use", "Expires", "Since", "Ends in", "Votes", "State", "Seats")
)

_STATES: Final = {
    ConstituentState.AVAILABLE: GOOD,
    ConstituentState.MISSING: BAD,
    ConstituentState.UNREACHABLE: BAD,
    ConstituentState.DIFFERENT: BAD,
    ConstituentState.EXPIRED: WARN,
}
_HEALTH: Final = {HealthState.HEALTHY: GOOD, HealthState.DEGRADED: WARN, HealthState.DOWN: BAD}
_ROLES: Final = {Role.ACTIVE: GOOD, Role.PASSIVE: FAINT, Role.CANDIDATE: WARN}


@dataclass(frozen=True, slots=True)
class TwinView:
    """What one address answered to the question for its status: `status`, or else `error`."""

    address: str
    status: Status | None
    error: str = ""

    @property
    def active(self) -> bool:
        """Whether the active twin answered."""
        return self.status is not None and self.status.role is Role.ACTIVE


# -- tmr list ----------------------------------------------------------------------------------------------


def containers(found: Sequence[Container], items: ItemList) -> list[RenderableType]:
    """The virtual container, the licences in it, and those that are not for want of constituents."""
    out: list[RenderableType] = []
    for container in found:
        out.append(
            Text.assemble(
                (f"Container {container.serial}", "bold"), f", {container.kind}, {container.act_id}"
            )
        )
        behind = Text("Upstreams ")
        for position, upstream in enumerate(container.upstreams):
            style = GOOD if upstream.state == "available" else BAD
            behind.append(", " if position else "")
            behind.append(f"{upstream.name} {upstream.state}", style)
        out.append(behind)
    now = found[0].certified_time if found else dt.datetime.now(dt.UTC)
    out.append("")
    if items.items:
        out.append(_usable(items.items, now))
    else:
        out.append("No licence can be used.")
    alarms = [f"{item.label}: {alarm}" for item in items.items for alarm in item.alarms]
    out += _alarms(alarms)
    if items.unavailable:
        out += ["", Text("Not available", BAD), _missing(items.unavailable)]
    return out


def _usable(found: Sequence[Item], now: dt.datetime) -> RenderableType:
    """The licences that can be used. What is special about them has a table of its own where it is narrow."""
    special = any(_options(item) for item in found)

    def table(*, options: bool) -> Table:
        rows = grid(
            "Licence", "Name", ">In use", "Expires", *(["Options"] if options else []), "Constituents"
        )
        for item in found:
            more = [_options(item)] if options else []
            rows.add_row(
                item.label,
                item.name,
                use(item),
                _expires(item, now),
                *more,
                constituents(item.constituents),
            )
        return rows

    if not special:
        return table(options=False)
    below = grid("Licence", "Options")
    for item in found:
        if _options(item):
            below.add_row(item.label, _options(item))
    return FirstFitting([table(options=True)], [table(options=False), "", below])


def use(licence: Item | LicenceStatus | Candidate) -> Text:
    """`3 of 5`, marked where none is free."""
    if licence.quantity is None:
        return Text(f"{licence.in_use} of unlimited")
    full = licence.in_use >= licence.quantity
    return Text(f"{licence.in_use} of {licence.quantity}", WARN if full else "")


def _options(item: Item) -> str:
    """What is special about the licence, in few words."""
    said = []
    if item.emergency:
        said.append("emergency")
    if item.units_remaining is not None:
        said.append(f"{item.units_remaining} units")
    if item.usage_seconds is not None and item.first_use is None:
        said.append(f"{written_period(item.usage_seconds)} from first use")
    if item.borrow_seconds is not None:
        out = f", {item.borrowed} out" if item.borrowed else ""
        said.append(f"borrow {written_period(item.borrow_seconds)}{out}")
    if item.feature_map:
        said.append(f"features {bits_of(item.feature_map)}")
    if item.maintenance_end is not None:
        said.append(f"maintained to {moment(item.maintenance_end, '%Y-%m-%d')}")
    return "; ".join(said)


def details(found: Sequence[Item]) -> list[RenderableType]:
    """All options of each licence, one to a line."""
    out: list[RenderableType] = []
    for item in found:
        out += ["", Text(f"{item.label} {item.name}".rstrip(), "bold")]
        rows = (
            ("Activation Time", item.activation and moment(item.activation)),
            ("Expiration Time", item.expiration and moment(item.expiration)),
            ("Usage Period", item.usage_seconds and _usage(item)),
            ("Maintenance Period", _maintenance(item)),
            ("Unit Counter", item.units and f"{item.units_remaining} of {item.units} units left"),
            ("Emergency licence", item.emergency and "yes"),
            ("Borrowing", item.borrow_seconds and _borrowing(item)),
            ("Feature Map", item.feature_map and f"bits {bits_of(item.feature_map)}"),
            ("Text", item.text),
            ("Customer", item.customer),
            ("User Data", item.user_data and f"{item.user_data} (Base64)"),
        )
        table = grid("", "")
        table.show_header = False
        for label, value in rows:
            if value:
                table.add_row(Text(label, FAINT), str(value))
        out.append(Padding(table, (0, 0, 0, 2)) if table.row_count else Text("  no special options", FAINT))
    return out


def _usage(item: Item) -> str:
    period = written_period(item.usage_seconds or 0)
    if item.first_use is None:
        return f"{period} from the first use on; not used yet"
    return f"{period} from {moment(item.first_use)} on, so to {moment(item.ends) if item.ends else 'then'}"


def _maintenance(item: Item) -> str:
    start, end = item.maintenance_start, item.maintenance_end
    if start is None and end is None:
        return ""
    day = "%Y-%m-%d"
    return (
        f"versions released {'at any time' if start is None else 'from ' + moment(start, day)}"
        f"{'' if end is None else ' up to ' + moment(end, day)}"
    )


def _borrowing(item: Item) -> str:
    seats = "all seats" if item.borrow_seats is None else f"{item.borrow_seats} seats"
    return f"{seats} for up to {written_period(item.borrow_seconds or 0)}; {item.borrowed} out"


def _expires(item: Item, now: dt.datetime) -> Text:
    ends = item.ends or item.expiration
    if ends is None:
        return Text("never", FAINT)
    return Text(moment(ends), WARN if ends - now < SOON else "")


def constituents(found: Iterable[Constituent]) -> Text:
    """`up1 up2`, and what is wrong with the others."""
    text = Text()
    for each in found:
        text.append(" " if text else "")
        if each.state is ConstituentState.AVAILABLE:
            text.append(each.upstream, GOOD)
        else:
            text.append(f"{each.upstream}:{each.state}", _STATES[each.state])
    return text


def _missing(unavailable: Sequence[Unavailable]) -> Table:
    """Unavailable licences with one line for each constituent."""
    table = grid("Licence", "Upstream", "State", "Detail")
    rows = [
        (licence.label if first else "", constituent)
        for licence in unavailable
        for first, constituent in zip([True, *[False] * 99], licence.constituents, strict=False)
    ]
    for label, constituent in rows[:PROBLEM_ROWS]:
        table.add_row(
            label,
            constituent.upstream,
            Text(constituent.state, _STATES[constituent.state]),
            constituent.detail,
        )
    _more(table, len(rows))
    return table


# -- tmr status --------------------------------------------------------------------------------------------


def status(health: HealthState, vips: Sequence[TwinView], twins: Sequence[TwinView]) -> list[RenderableType]:
    """Health, both twins side by side, the upstreams as each sees them, licences with their votes, alarms.

    A network licence server is shown by itself.
    """
    out: list[RenderableType] = [Text.assemble("Health: ", (health, _HEALTH[health]))]
    for vip in vips:
        alone = vip.status is not None and vip.status.network
        line = Text(f"{'Network licence server' if alone else 'Virtual address'} {vip.address}: ")
        if vip.status is None:
            line.append(f"silent ({vip.error})", BAD)
        else:
            line.append(f"{vip.status.name}, {vip.status.role}", _ROLES[vip.status.role])
        out.append(line)
    shown = list(twins) or [vip for vip in vips if vip.status is not None][:1]
    if shown:
        out += ["", _twins(shown)]
    answered = [view.status for view in [*shown, *vips] if view.status is not None]
    if not answered:
        return out
    best = max(answered, key=lambda s: (s.role is Role.ACTIVE, s.epoch, s.commit))
    seen = [view.status for view in shown if view.status is not None] or [best]
    out += [""] if best.network else ["", _upstreams(seen), ""]
    out += _licences(best.licences) if best.licences else [Text("No licences are known.")]
    return out + _alarms(_alarms_of(seen))


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
        if all(status.network for status in known):
            row("Container", lambda s: Text(s.upstreams[0].container or "-" if s.upstreams else "-"))
        else:
            row("Lease", lambda s: Text(_lease(s)))
        row("Journal", lambda s: Text(f"{s.commit} committed"))
        row("Sessions", lambda s: Text(str(s.sessions)))
        row("Certified time", lambda s: Text(_clock(s.certified_time)))
        if any(status.time_in_doubt for status in known):
            row("The clocks show", _doubtful)
        row("Version", lambda s: Text(s.version))
    return table


def _doubtful(status: Status) -> Text:
    """What the clocks show, where certified time does not follow them."""
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
    """Whether a time source keeps an upstream's clock; whether one should is for an alarm to say."""
    return Text("-", FAINT) if clock is None else Text("synced" if clock else "not synced")


def _upstream(view: UpstreamStatus | None) -> Text:
    if view is None:
        return Text("-", FAINT)
    since = f" since {_clock(view.since)}" if view.since else ""
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
    """What an operator should know of its use besides seats."""
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


# -- tmr sessions ------------------------------------------------------------------------------------------


def sessions(held: Sequence[HeldSession], queue: Sequence[QueuedRequest] = ()) -> list[RenderableType]:
    """Who holds what, and who waits."""
    out: list[RenderableType] = ["No sessions."]
    if held:
        table = partial(_held, held)
        short = partial(_held, held, short=True)
        out = [
            FirstFitting(
                [table()],
                [table("Since")],
                [short("Since")],
                [short("Since", "Process")],
                [short("Since", "Process", "Mode", "Client")],
            )
        ]
    if queue:
        rows = partial(_queue, queue)
        few = [rows("Since", short=True)], [rows("Since", "Mode", short=True)]
        out += ["", Text("Waiting for a seat", "bold"), FirstFitting([rows()], [rows(short=True)], *few)]
    return out


def _held(held: Sequence[HeldSession], *without: str, short: bool = False) -> Table:
    return chosen(
        ("Licence", "Mode", "Client", "Held by", "Since", ">Ends in", "Process", "Session"),
        [
            (
                each.label,
                each.access_mode,
                each.client,
                person(each.user, each.station),
                moment(each.granted_at, "%m-%d %H:%M"),
                "-" if each.remaining_ms is None else f"{each.remaining_ms / 1000:.0f} s",
                each.process,
                spelled(each.id, short),
            )
            for each in held
        ],
        without,
    )


def _queue(queue: Sequence[QueuedRequest], *without: str, short: bool = False) -> Table:
    return chosen(
        ("Product", ">Place", "Mode", "Client", "Asked by", "Since", "Id"),
        [
            (
                f"{each.firm_code}:{each.product_code}",
                str(each.position),
                each.access_mode,
                each.client,
                person(each.user, each.station),
                moment(each.since, "%m-%d %H:%M"),
                spelled(each.id, short),
            )
            for each in queue
        ],
        without,
    )


def person(user: str, station: str) -> str:
    """`ada@cad-07`."""
    return f"{user}@{station}" if user else station


# -- errors ------------------------------------------------------------------------------------------------


def error(raised: TmrError) -> list[RenderableType]:
    """What went wrong, who is missing or holds the seats, and what to do about it."""
    problem = getattr(raised, "problem", None)
    title = problem.title if problem is not None else raised.message.rstrip(".")
    head = Text.assemble(("Error: ", BAD), (title, "bold"))
    if problem is not None and problem.code is not None:
        head.append(f" (CodeMeter error {problem.code})", FAINT)
    out: list[RenderableType] = [head]
    if problem is not None and len(problem.mistakes) > 1:
        out += [Text(f"  {mistake}") for mistake in problem.mistakes]
    elif problem is not None and raised.message != title:
        out.append(Text(raised.message))
    if problem is not None and len(problem.unavailable) > 1:
        out += ["", _missing(problem.unavailable)]
    elif problem is not None and any(c.state != "available" for c in problem.constituents):
        out += ["", _problem_constituents(problem.constituents)]
    if problem is not None and problem.rule and repr(problem.rule) not in raised.message:
        out.append(f"Access rule: {problem.rule}")
    if problem is not None and problem.holders:
        out += ["", holders(problem.holders)]
    if problem is not None and problem.next_end is not None:
        out.append(f"A seat comes back at the latest {moment(problem.next_end)}.")
    if problem is not None and problem.waiting:
        out.append(f"{problem.waiting} requests wait for a seat already.")
    if isinstance(raised, NoService) and raised.reasons:
        out += ["", _reasons(raised.reasons, raised.message)]
    remedy = raised.remedy
    if remedy:
        out += ["", Text.assemble(("What to do: ", "bold"), remedy)]
    return out


def _problem_constituents(found: Sequence[Constituent]) -> Table:
    table = grid("Upstream", "Container", "State", "Detail")
    for each in dict.fromkeys(found):
        table.add_row(
            each.upstream, each.container or "-", Text(each.state, _STATES[each.state]), each.detail
        )
    return table


def holders(found: Sequence[Holder]) -> Table:
    """Who holds the seats, and until when where that is known."""
    table = grid("Held by", "Station", "Mode", "Since", ">Seats", "Until")
    for each in found[:PROBLEM_ROWS]:
        table.add_row(
            each.user or "-",
            each.station,
            each.access_mode or "borrowed",
            moment(each.since),
            str(each.seats),
            "released" if each.until is None else moment(each.until),
        )
    _more(table, len(found))
    return table


def _reasons(reasons: Sequence[TwinAnswer], known: str) -> Table:
    table = grid("Twin", "Says")
    for each in reasons:
        if each.problem is None:
            table.add_row(each.address, Text(each.error, BAD))
        else:
            said = each.problem.detail or each.problem.title
            table.add_row(each.address, "the same" if said == known else said)
    return table


class FirstFitting:
    """The first of several ways to show something whose tables fit the width; else the last."""

    def __init__(self, *ways: Sequence[RenderableType]) -> None:
        self._ways = ways

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        def fits(way: Sequence[RenderableType]) -> bool:
            wide = options.update(max_width=WIDEST)
            return all(
                Measurement.get(console, wide, part).maximum <= options.max_width
                for part in way
                if isinstance(part, Table)
            )

        yield from next((way for way in self._ways if fits(way)), self._ways[-1])


class WithoutControlCharacters:
    """Shows `renderable` without characters that would do something to the terminal.

    Names and details come from other people's machines.
    """

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._renderable, options):
            yield Segment(clean(segment.text), segment.style, segment.control)


def clean(text: str) -> str:
    """`text` with a question mark for every character that is no text."""
    return _UNFIT.sub("?", text)


# -- parts -------------------------------------------------------------------------------------------------


def moment(time: dt.datetime, form: str = "%Y-%m-%d %H:%M") -> str:
    """A time in the local time zone."""
    return time.astimezone().strftime(form)


def _clock(time: dt.datetime | None) -> str:
    return "-" if time is None else moment(time, "%H:%M:%S")


def grid(*columns: str) -> Table:
    """A table without frames; `>` before a title: to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        title = column.lstrip(">")
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        one_line = title in _ONE_LINE
        table.add_column(
            title, justify=justify, no_wrap=one_line, overflow="ellipsis" if one_line else "fold"
        )
    return table


def chosen(titles: Sequence[str], rows: Iterable[Sequence[str]], without: Sequence[str]) -> Table:
    """A grid of these rows, less the columns `without`."""
    kept = [number for number, title in enumerate(titles) if title.lstrip(">") not in without]
    table = grid(*(titles[number] for number in kept))
    for row in rows:
        table.add_row(*(row[number] for number in kept))
    return table


def _more(table: Table, rows: int) -> None:
    if rows > PROBLEM_ROWS:
        table.add_row(Text(f"… and {rows - PROBLEM_ROWS} more", FAINT))


def _alarms(alarms: Sequence[str]) -> list[RenderableType]:
    if not alarms:
        return []
    lines: list[RenderableType] = ["", Text("Alarms", BAD)]
    return lines + [Padding(Text(alarm, WARN), (0, 0, 0, 2)) for alarm in alarms]
