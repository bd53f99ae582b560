# SPDX-License-Identifier: Apache-2.0
"""Tables of the command line, to the letter."""

import datetime as dt
import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from tests.unit.client.documents import problem_answer
from tmr.api.borrowing import Borrowing
from tmr.api.errors import NoQuorum, NoService, TmrError, TwinAnswer
from tmr.api.licences import Constituent, Container, ContainerUpstream, Holder, Item, ItemList, Unavailable
from tmr.api.problems import problem, to_error
from tmr.api.sessions import HeldSession, QueuedRequest
from tmr.api.status import Health, HealthReason, HealthState, LicenceStatus, Status, UpstreamStatus
from tmr.cli.render import (
    borrow_tables,
    layout,
    licence_tables,
    problem_tables,
    session_tables,
    status_tables,
)
from tmr.client._operations import problem_of
from tmr.client.borrow_store import Stored

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
UP = [("up1", "130-11"), ("up2", "130-22"), ("up3", "130-33")]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(renderables: Sequence[RenderableType], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    for renderable in renderables:
        console.print(layout.WithoutControlCharacters(renderable))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def constituents(*states: str) -> tuple[Constituent, ...]:
    return tuple(
        Constituent.model_validate(
            {
                "upstream": name,
                "container": serial,
                "state": state,
                "detail": "" if state == "available" else f"{name} is {state}",
            }
        )
        for (name, serial), state in zip(UP, states, strict=True)
    )


ALL = constituents("available", "available", "available")
CONTAINER = Container(
    serial="131-1234567",
    kind="virtual container of a TMR system",
    act_id="lab-4f3a000000000001",
    items=2,
    epoch=7,
    certified_time=NOON,
    upstreams=tuple(
        ContainerUpstream.model_validate({"name": n, "container": s, "state": st})
        for (n, s), st in zip(UP, ("available", "available", "not-voting"), strict=True)
    ),
)


def item(product: int, **changed: object) -> Item:
    fields = {
        "firm_code": 6000010,
        "product_code": product,
        "tmr_id": 1,
        "name": "Simulator",
        "quantity": 5,
        "in_use": 2,
        "exclusive": False,
        "expiration": None,
        "constituents": ALL,
    }
    return Item.model_validate({**fields, **changed})


UNAVAILABLE = Unavailable(
    firm_code=6000010,
    product_code=300,
    tmr_id=3,
    quantity=5,
    constituents=constituents("available", "missing", "unreachable"),
)


def test_list() -> None:
    items = ItemList(
        items=(
            item(201),
            item(202, quantity=None, in_use=0, name="[bold]Viewer", expiration=NOON.replace(year=2027)),
            item(
                203,
                name="",
                constituents=constituents("available", "available", "different"),
                alarms=("up3 differs",),
            ),
        ),
        unavailable=(UNAVAILABLE,),
    )
    assert (
        shown(licence_tables.containers([CONTAINER], items))
        == """\
Container 131-1234567, virtual container of a TMR system, lab-4f3a000000000001
Upstreams up1 available, up2 available, up3 not-voting

Licence         Name                  In use  Expires           Constituents
6000010:201 #1  Simulator             2 of 5  never             up1 up2 up3
6000010:202 #1  [bold]Viewer  0 of unlimited  2027-03-01 12:00  up1 up2 up3
6000010:203 #1                        2 of 5  never             up1 up2
                                                                up3:different

Alarms
  6000010:203 #1: up3 differs

Not available
Licence         Upstream  State        Detail
6000010:300 #3  up1       available
                up2       missing      up2 is missing
                up3       unreachable  up3 is unreachable"""
    )


def test_list_of_nothing() -> None:
    assert shown(licence_tables.containers([CONTAINER], ItemList(items=()))).endswith(
        "No licence can be used."
    )


DEGRADED = Health(
    state=HealthState.DEGRADED, reasons=(HealthReason(machine="up3", what="up3 does not answer: refused"),)
)


def status(name: str, role: str, **changed: object) -> Status:
    fields = {
        "name": name,
        "role": role,
        "epoch": 7,
        "lease_remaining_ms": 1640 if role == "active" else None,
        "vip": ["10.20.0.100"],
        "container": "131-560068967",
        "act_id": "lab-0123456789abcdef",
        "version": "0.1.0",
        "certified_time": NOON,
        "upstreams": [
            UpstreamStatus(
                name="up1", reachable=True, voting=True, container="130-11", lag=0, clock_synchronised=True
            ),
            UpstreamStatus(
                name="up2", reachable=True, voting=False, container="130-22", lag=12, clock_synchronised=False
            ),
            UpstreamStatus(name="up3", reachable=False, voting=True, last_error="refused", since=NOON),
        ],
        "licences": [
            LicenceStatus.model_validate(
                {
                    "firm_code": 6000010,
                    "product_code": 201,
                    "tmr_id": 1,
                    "name": "Simulator",
                    "quantity": 5,
                    "in_use": 5,
                    "votes": 2,
                    "state": "available",
                    "constituents": ALL,
                }
            )
        ],
        "sessions": 5,
        "commit": 42,
        "health": DEGRADED,
        "alarms": ["up3 does not answer: refused"],
    }
    return Status.model_validate({**fields, **changed})


def test_the_first_end_of_all_machines_is_shown() -> None:
    later = {"machine": "tmr1", "file": "ca", "ends": "2030-01-01T00:00:00Z"}
    first = {"machine": "up2", "file": "crl", "ends": "2027-03-04T05:06:00Z"}
    one = status_tables.TwinView("10.20.0.21", status("tmr1", "active", certificates=[later]))
    two = status_tables.TwinView("10.20.0.22", status("tmr2", "passive", certificates=[first, later]))
    said = shown(status_tables.status(HealthState.DEGRADED, [], [one, two]))
    assert "First to end: the revocation list of up2, on 2027-03-04 " in said


def test_status() -> None:
    one = status_tables.TwinView("10.20.0.21", status("tmr1", "active"))
    two = status_tables.TwinView("10.20.0.22", None, "connection refused")
    vip = status_tables.TwinView("10.20.0.100", one.status)
    assert (
        shown(status_tables.status(HealthState.DEGRADED, [vip], [one, two]))
        == """\
Health: degraded
Container 131-560068967, lab-0123456789abcdef
Virtual address 10.20.0.100: tmr1, active

                tmr1          no answer
Address         10.20.0.21    10.20.0.22
Role            active        connection refused
Health          degraded
Epoch           7
Lease           1.6 s left
Journal         42 committed
Sessions        5
Certified time  12:00:00
Version         0.1.0

Upstream  Container  Clock       seen by tmr1
up1       130-11     synced      votes
up2       130-22     not synced  does not vote
up3       -          -           unreachable since 12:00:00

Licence         Name       In use  Votes   State
6000010:201 #1  Simulator  5 of 5  2 of 3  available

Alarms
  tmr1: up3 does not answer: refused"""
    )


def test_alarm_that_both_twins_tell_is_shown_once() -> None:
    views = [
        status_tables.TwinView("10.20.0.21", status("tmr1", "active")),
        status_tables.TwinView("10.20.0.22", status("tmr2", "passive")),
    ]
    text = shown(status_tables.status(HealthState.DEGRADED, views[:1], views))
    assert text.endswith("\nAlarms\n  tmr1, tmr2: up3 does not answer: refused")


def test_status_with_special_use() -> None:
    licence = status("tmr1", "active").licences[0]
    special = licence.model_copy(
        update={"emergency": True, "waiting": 2, "borrowed": 1, "units": 1000, "units_remaining": 988}
    )
    one = status_tables.TwinView("10.20.0.21", status("tmr1", "active", licences=[special], alarms=[]))
    assert shown(status_tables.status(HealthState.DEGRADED, [one], [])).endswith(
        """
Licence         Name       In use  Votes   State
6000010:201 #1  Simulator  5 of 5  2 of 3  available

Licence         Use
6000010:201 #1  emergency licence in use; 2 waiting; 1 borrowed; 988 units left"""
    )


def test_status_of_nobody() -> None:
    silent = status_tables.TwinView("10.20.0.100", None, "no connection within 1 s")
    twin = status_tables.TwinView("10.20.0.21", None, "connection refused")
    text = shown(status_tables.status(HealthState.DOWN, [silent], [twin]))
    assert text.startswith("Health: down\nVirtual address 10.20.0.100: silent (no connection within 1 s)")
    assert "connection refused" in text
    assert "Upstream" not in text


def test_status_without_the_twins_addresses() -> None:
    vip = status_tables.TwinView("10.20.0.100", status("tmr1", "active", licences=[], alarms=[]))
    text = shown(status_tables.status(HealthState.HEALTHY, [vip], []))
    assert "tmr1" in text
    assert text.endswith("No licences are known.")


ID = "019aa1b2c3d40123456789abcdef0123"
HELD = {
    "id": ID,
    "client": "alice",
    "firm_code": 6000010,
    "product_code": 201,
    "tmr_id": 1,
    "access_mode": "station-share",
    "ttl": 60,
    "granted_at": NOON,
    "station": "cad-07",
    "user": "ada",
    "process": "simulate[4711]",
    "remaining_ms": 41_000,
}
QUEUED = QueuedRequest.model_validate(
    {**HELD, "client": "bob", "station": "cad-09", "user": "bert", "position": 1, "since": NOON}
)


def test_sessions() -> None:
    held = [HeldSession.model_validate(HELD), HeldSession.model_validate({**HELD, "user": ""})]
    assert (
        shown(session_tables.sessions(held, [QUEUED]))
        == """\
Licence         Mode           Client  Held by     Ends in  Session
6000010:201 #1  station-share  alice   ada@cad-07     41 s  cdef0123
6000010:201 #1  station-share  alice   cad-07         41 s  cdef0123

Waiting for a seat
Product      Place  Mode           Client  Asked by     Since        Id
6000010:201      1  station-share  bob     bert@cad-09  03-01 12:00  cdef0123"""
    )
    assert (
        shown(session_tables.sessions(held[:1], [QUEUED]), 140)
        == f"""\
Licence         Mode           Client  Held by     Since        Ends in  Process         Session
6000010:201 #1  station-share  alice   ada@cad-07  03-01 12:00     41 s  simulate[4711]  {ID}

Waiting for a seat
Product      Place  Mode           Client  Asked by     Since        Id
6000010:201      1  station-share  bob     bert@cad-09  03-01 12:00  {ID}"""
    )
    assert shown(session_tables.sessions([])) == "No sessions."
    assert shown(session_tables.sessions([], [QUEUED])).startswith("No sessions.\n\nWaiting for a seat\n")


@pytest.mark.parametrize("width", [60, 80, 100, 132, 240])
def test_every_session_has_its_id_at_every_width(width: int) -> None:
    """Its end at least, in one piece: it is needed to end the session."""
    text = shown(session_tables.sessions([HeldSession.model_validate(HELD)], [QUEUED]), width)
    assert text.count(ID[-8:]) == 2
    assert all(len(line) <= width for line in text.splitlines())


SPECIAL = (
    item(201, borrow_seconds=14 * 86400, borrowed=1, feature_map=5),
    item(202, units=1000, units_remaining=988, quantity=None, in_use=0),
    item(203, emergency=True, usage_seconds=7 * 86400),
    item(204),
)


def test_list_with_options() -> None:
    """In 80 columns they have a table of their own, in more a column."""
    narrow = shown(licence_tables.containers([CONTAINER], ItemList(items=SPECIAL)))
    assert narrow.endswith(
        """
Licence         Name               In use  Expires  Constituents
6000010:201 #1  Simulator          2 of 5  never    up1 up2 up3
6000010:202 #1  Simulator  0 of unlimited  never    up1 up2 up3
6000010:203 #1  Simulator          2 of 5  never    up1 up2 up3
6000010:204 #1  Simulator          2 of 5  never    up1 up2 up3

Licence         Options
6000010:201 #1  borrow 14 d, 1 out; features 0,2
6000010:202 #1  988 units
6000010:203 #1  emergency; 7 d from first use"""
    )
    wide = shown(licence_tables.containers([CONTAINER], ItemList(items=SPECIAL)), 100)
    assert "Expires  Options                           Constituents" in wide
    assert wide.count("6000010:201 #1") == 1


def test_all_options_of_a_licence() -> None:
    used = item(
        205,
        usage_seconds=86400,
        first_use=NOON,
        ends=NOON + dt.timedelta(days=1),
        maintenance_end=NOON,
        activation=NOON,
        expiration=NOON.replace(year=2027),
        borrow_seconds=3600,
        borrow_seats=2,
    )
    assert (
        shown(licence_tables.details([used, item(206)]))
        == """
6000010:205 #1 Simulator
  Activation Time     2026-03-01 12:00
  Expiration Time     2027-03-01 12:00
  Usage Period        1 d from 2026-03-01 12:00 on, so to 2026-03-02 12:00
  Maintenance Period  versions released at any time up to 2026-03-01
  Borrowing           2 seats for up to 1 h; 0 out

6000010:206 #1 Simulator
  no special options"""
    )


def test_borrowed() -> None:
    lent = Borrowing.model_validate(
        {**HELD, "station": "laptop-3", "from": NOON, "until": NOON + dt.timedelta(days=3)}
    )
    unreadable = Stored(ID, Path("x"), None)
    assert (
        shown(borrow_tables.borrowed([unreadable], [lent]))
        == f"""\
On this machine
Licence     Name  Until  Borrowing
unreadable               {ID}

Known to the server
Licence         Held by       Until             Borrowing
6000010:201 #1  ada@laptop-3  2026-03-04 12:00  {ID}"""
    )
    assert shown(borrow_tables.borrowed([], ())) == "No borrow file is on this machine."
    assert shown(borrow_tables.borrowed([], None)).endswith("The server does not answer.")
    wide = shown(borrow_tables.borrowed([], [lent]), 120)
    assert "alice   ada@laptop-3  2026-03-01 12:00  2026-03-04 12:00" in wide


def test_an_error_with_all_that_explains_it() -> None:
    borrowing = {"user": "bob", "station": "laptop-3", "access_mode": None, "since": NOON, "seats": 1}
    refused = to_error(
        problem(
            "access-denied",
            "10 seats are in use.",
            rule="south-at-most",
            holders=({**borrowing, "until": NOON + dt.timedelta(days=3)},),
            next_end=NOON + dt.timedelta(days=3),
            waiting=2,
        )
    )
    assert (
        shown(problem_tables.error(refused))
        == """\
Error: Access denied (CodeMeter error 231)
10 seats are in use.
Access rule: south-at-most

Held by  Station   Mode      Since             Seats  Until
bob      laptop-3  borrowed  2026-03-01 12:00      1  2026-03-04 12:00
A seat comes back at the latest 2026-03-04 12:00.
2 requests wait for a seat already.

What to do: Ask the operator of the licence server for access."""
    )


def test_holders_of_one_user_are_told_apart_by_their_processes() -> None:
    holder = {"user": "ada", "station": "cad-07", "access_mode": "user-limit", "since": NOON, "seats": 1}
    found = [Holder.model_validate({**holder, "process": f"simulate[{pid}]"}) for pid in (4711, 4712)]
    assert shown([problem_tables.holders(found)]) == (
        "Held by  Station  Process         Mode        Since             Seats  Until\n"
        "ada      cad-07   simulate[4711]  user-limit  2026-03-01 12:00      1  released\n"
        "ada      cad-07   simulate[4712]  user-limit  2026-03-01 12:00      1  released"
    )


def test_many_mistakes_are_told_one_to_a_line() -> None:
    wrong = to_error(problem("bad-request", "All of it.", "Correct it.", mistakes=("one", "two")))
    assert shown(problem_tables.error(wrong)) == (
        "Error: The request is ill-formed\n  one\n  two\n\nWhat to do: Correct it."
    )


def test_an_error_that_says_who_holds_the_seats() -> None:
    holder = {"user": "ada", "station": "cad-07", "access_mode": "user-limit", "since": NOON, "seats": 1}
    refused = to_error(
        problem("no-more-licences", "1 of 1 seat is in use.", holders=(holder,), constituents=ALL)
    )
    assert (
        shown(problem_tables.error(refused))
        == """\
Error: All seats are taken (CodeMeter error 212)
1 of 1 seat is in use.

Held by  Station  Mode        Since             Seats  Until
ada      cad-07   user-limit  2026-03-01 12:00      1  released

What to do: Wait until one of the holders is done, or ask one of them."""
    )


def test_an_error_that_says_what_is_missing_where() -> None:
    told = problem(
        "no-quorum", "1 of 3 upstreams can be reached (up1).", constituents=UNAVAILABLE.constituents
    )
    passive = problem("not-active", "tmr2 is not the active twin.")
    reasons = (
        TwinAnswer("10.20.0.21", told, ""),
        TwinAnswer("10.20.0.22", passive, ""),
        TwinAnswer("10.20.0.23", None, "connection refused"),
    )
    refused = NoQuorum(told.detail, told.remedy, problem=told, reasons=reasons)
    assert (
        shown(problem_tables.error(refused))
        == """\
Error: No majority of upstreams can be reached
1 of 3 upstreams can be reached (up1).

Upstream  Container  State        Detail
up1       130-11     available
up2       130-22     missing      up2 is missing
up3       130-33     unreachable  up3 is unreachable

Twin        Says
10.20.0.21  the same
10.20.0.22  tmr2 is not the active twin.
10.20.0.23  connection refused

What to do: Two of the three upstreams must be up and reachable from this twin:
start or repair them."""
    )


def test_an_error_about_many_licences_stays_short() -> None:
    many = [UNAVAILABLE.model_copy(update={"product_code": n}) for n in range(300, 400)]
    text = shown(problem_tables.error(to_error(problem("no-quorum", "none", unavailable=tuple(many)))))
    assert text.count("\n") < 45
    assert "… and 270 more" in text


@pytest.mark.parametrize(
    "error",
    [
        TmrError("Something broke."),
        NoService("Nobody answered", "Check the network."),
        to_error(problem_of(problem_answer("from-the-future", 409)) or problem("bad-request", "")),
        to_error(problem("bad-request", "user: \x1b[2J")),
    ],
)
def test_every_error_is_told(error: TmrError) -> None:
    text = shown(problem_tables.error(error))
    assert text.startswith("Error: ")
    assert "\x1b" not in text
