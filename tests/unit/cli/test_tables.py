"""What people read, to the letter."""

import datetime as dt
import io
import time
from collections.abc import Iterator, Sequence

import pytest
from rich.console import Console, RenderableType

from tests.unit.client.documents import problem_answer
from tmr.cli import tables
from tmr.client.models import (
    Constituent,
    Container,
    ContainerUpstream,
    HeldSession,
    Item,
    ItemList,
    LicenceStatus,
    Status,
    Unavailable,
    UpstreamStatus,
)
from tmr.client.operations import problem_of
from tmr.client.problems import NoQuorum, NoService, TmrError, TwinAnswer, problem, to_error

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
        console.print(tables.Clean(renderable))
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
        shown(tables.containers([CONTAINER], items))
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
    assert shown(tables.containers([CONTAINER], ItemList(items=()))).endswith("No licence can be used.")


def status(name: str, role: str, **changed: object) -> Status:
    fields = {
        "name": name,
        "role": role,
        "epoch": 7,
        "lease_remaining_ms": 1640 if role == "active" else None,
        "vip": ["10.20.0.100"],
        "version": "0.1.0",
        "certified_time": NOON,
        "upstreams": [
            UpstreamStatus(name="up1", reachable=True, voting=True, container="130-11", lag=0),
            UpstreamStatus(name="up2", reachable=True, voting=False, container="130-22", lag=12),
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
        "alarms": ["up3 does not answer: refused"],
    }
    return Status.model_validate({**fields, **changed})


def test_status() -> None:
    one = tables.TwinView("10.20.0.21", status("tmr1", "active"))
    two = tables.TwinView("10.20.0.22", None, "connection refused")
    vip = tables.TwinView("10.20.0.100", one.status)
    assert (
        shown(tables.status([vip], [one, two]))
        == """\
Virtual address 10.20.0.100: tmr1, active

                tmr1          no answer
Address         10.20.0.21    10.20.0.22
Role            active        connection refused
Epoch           7
Lease           1.6 s left
Journal         42 committed
Sessions        5
Certified time  12:00:00
Version         0.1.0

Upstream  Container  seen by tmr1
up1       130-11     votes
up2       130-22     does not vote
up3       -          unreachable since 12:00:00

Licence         Name       In use  Votes   State
6000010:201 #1  Simulator  5 of 5  2 of 3  available

Alarms
  tmr1: up3 does not answer: refused"""
    )


def test_status_of_nobody() -> None:
    silent = tables.TwinView("10.20.0.100", None, "no connection within 1 s")
    text = shown(tables.status([silent], [tables.TwinView("10.20.0.21", None, "connection refused")]))
    assert text.startswith("Virtual address 10.20.0.100: silent (no connection within 1 s)")
    assert "connection refused" in text
    assert "Upstream" not in text


def test_status_without_the_twins_addresses() -> None:
    vip = tables.TwinView("10.20.0.100", status("tmr1", "active", licences=[], alarms=[]))
    text = shown(tables.status([vip], []))
    assert "tmr1" in text
    assert text.endswith("No licences are known.")


def test_sessions() -> None:
    fields = {
        "id": "s-1",
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
    held = [HeldSession.model_validate(fields), HeldSession.model_validate({**fields, "user": ""})]
    assert (
        shown(tables.sessions(held))
        == """\
Licence         Mode           Client  Held by     Since        Ends in  Process
6000010:201 #1  station-share  alice   ada@cad-07  03-01 12:00     41 s  simulat
                                                                         e[4711]
6000010:201 #1  station-share  alice   cad-07      03-01 12:00     41 s  simulat
                                                                         e[4711]"""
    )
    assert shown(tables.sessions([])) == "No sessions."


def test_an_error_that_says_who_holds_the_seats() -> None:
    holder = {"user": "ada", "station": "cad-07", "access_mode": "user-limit", "since": NOON, "seats": 1}
    refused = to_error(
        problem("no-more-licences", "1 of 1 seats are in use.", holders=(holder,), constituents=ALL)
    )
    assert (
        shown(tables.error(refused))
        == """\
Error: All seats are taken (CodeMeter error 212)
1 of 1 seats are in use.

Held by  Station  Mode        Since             Seats
ada      cad-07   user-limit  2026-03-01 12:00      1

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
        shown(tables.error(refused))
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
    text = shown(tables.error(to_error(problem("no-quorum", "none", unavailable=tuple(many)))))
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
    text = shown(tables.error(error))
    assert text.startswith("Error: ")
    assert "\x1b" not in text
