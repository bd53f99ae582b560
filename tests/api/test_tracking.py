# SPDX-License-Identifier: Apache-2.0
"""`GET /v1/tracking`: a record that two containers vouch for, also after one of them missed a part of it."""

import csv
import datetime as dt
import io
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.tmr_system import (
    FIRM,
    OLGA,
    System,
    Twin,
    Upstream,
    ask,
    item,
    key,
    lasting_lease,
    running,
    scenario,
    until,
)
from tmr.ledger import Line
from tmr.ledger.export import BadExport, Reader
from tmr.quorum import ledger_copy, stored_journal
from tmr.service import tracking


async def export(twin: Twin, **query: Any) -> httpx.Response:
    async with twin.client(OLGA) as client:
        return await client.get("/v1/tracking", params={"firm_code": FIRM, **query})


def keys(system: System) -> dict[str, bytes]:
    return {upstream.box.serial: upstream.box.key for upstream in system.upstreams}


def verified(system: System, answer: httpx.Response) -> tuple[list[Line], set[str]]:
    """The lines of a sound export, and the upstreams that vouch for it."""
    assert answer.status_code == 200, answer.text
    reader = Reader(answer.content.splitlines())
    lines = list(reader)
    vouchers = reader.vouchers(keys(system))
    assert [one.problem for one in vouchers] == [""] * len(vouchers)
    assert len(vouchers) >= 2
    return lines, {one.upstream for one in vouchers}


async def sessions(twin: Twin, count: int, **members: Any) -> None:
    async with twin.client() as client:
        for _ in range(count):
            granted = await client.post("/v1/sessions", json=ask(**members), headers=key())
            assert granted.status_code == 201, granted.text
            await client.delete(f"/v1/sessions/{granted.json()['id']}")


@scenario
async def test_an_export_tells_what_happened_and_is_vouched_for(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=1)) as system:
        twin = system.active
        nothing, _ = verified(system, await export(twin))
        assert nothing == []
        await sessions(twin, 1, user="anna")
        async with twin.client() as client:
            assert (await client.post("/v1/sessions", json=ask(), headers=key())).status_code == 201
        lines, by = verified(system, await export(twin))
        assert [(line.event, line.user) for line in lines] == [
            ("granted", "anna"),
            ("released", "anna"),
            ("granted", ""),
        ]
        assert by <= {"up1", "up2", "up3"}
        system.upstreams[0].cut()
        again, by = verified(system, await export(twin))
        assert again == lines
        assert by == {"up2", "up3"}


@scenario
async def test_an_export_does_not_wait_for_the_renewal_of_the_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting_lease(monkeypatch)
    monkeypatch.setattr(tracking, "EXPORT_WITHIN", 0.0)
    async with running(tmp_path, item()) as system:
        await sessions(system.active, 1)
        lines, _ = verified(system, await export(system.active))
        assert [line.event for line in lines] == ["granted", "released"]


@scenario
async def test_a_span_of_time_follows_the_one_before(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        twin = system.active
        await sessions(twin, 3)
        (first, *_, last), _ = verified(system, await export(twin))
        moment = dt.datetime.fromtimestamp(last.time_ms / 1000, dt.UTC).isoformat()
        early, late = await export(twin, to=moment), await export(twin, **{"from": moment})
        before = Reader(early.content.splitlines())
        after = Reader(late.content.splitlines())
        lines = [*before, *after]
        assert [line.seq for line in lines] == list(range(first.seq, last.seq + 1))
        assert before.span.last_hash == after.span.before
        assert before.span.whole
        verified(system, early)
        verified(system, late)


@scenario
async def test_csv_is_harmless_in_a_spreadsheet(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        await sessions(system.active, 1, user="=HYPERLINK(1)", station="@cad")
        answer = await export(system.active, format="csv")
        assert answer.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["event"] for row in rows] == ["granted", "released"]
        assert {row["user"] for row in rows} == {"'=HYPERLINK(1)"}
        assert {row["station"] for row in rows} == {"'@cad"}
        assert rows[0]["time"].startswith("20")


@scenario
async def test_who_may_not_and_what_cannot_be_asked(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        twin = system.active
        async with twin.client() as client:
            refused = await client.get("/v1/tracking", params={"firm_code": FIRM})
        assert refused.status_code == 403
        mistakes = {"firm_code": 5}, {"from": "yesterday"}, {"from": "2026-03-01T12:00:00"}, {"format": "xls"}
        for query in mistakes:
            answer = await export(twin, **query)
            assert answer.status_code == 422, query
            assert answer.json()["type"] == "urn:tmr:problem:bad-request"
        passive = await export(system.passive)
        assert passive.json()["type"] == "urn:tmr:problem:not-active"


def whole(upstream: Upstream) -> bool:
    head = upstream.ledger.heads.get(FIRM)
    if head is None:
        return False
    with upstream.store.transaction():
        (*rest, run) = upstream.store.record.look(FIRM, head).runs or (None,)
    return not rest and run is not None and (run.first, run.last) == (1, head.seq)


@scenario
async def test_what_an_upstream_missed_is_brought_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_journal, "SNAPSHOT_EVERY", 20)
    monkeypatch.setattr(ledger_copy, "LOG_RETAIN_ENTRIES", 15)
    async with running(tmp_path, item()) as system:
        twin = system.active
        twin.agent.record_sync.begin_term(float("inf"))
        up1, _, up3 = system.upstreams
        await sessions(twin, 5)
        up3.cut()
        await sessions(twin, 40)
        up3.up = True
        await until(lambda: up3.ledger.heads == up1.ledger.heads, "up3 is sent the snapshot")
        assert not whole(up3), "the snapshot brings no lines"
        up1.cut()
        await sessions(twin, 1)
        partial = Reader((await export(twin)).content.splitlines())
        assert 0 < len(list(partial)) < 92
        assert not partial.span.whole, "up3 vouches only for what it has"
        twin.agent.record_sync.interval = 0.05
        twin.agent.record_sync.begin_term(0.0)
        await until(lambda: whole(up3), "the lines were copied")
        lines, by = verified(system, await export(twin))
        assert by == {"up2", "up3"}
        assert [line.seq for line in lines] == list(range(1, 93))
        assert twin.agent.record_sync.alarms == ()


async def pruned(upstream: Upstream, lines: int) -> None:
    """The upstream has these lines, and deletes all that are older than its last entry."""
    await until(lambda: upstream.ledger.heads[FIRM].seq == lines, "it has all lines")
    upstream.recorder._days = 0
    assert await upstream.recorder.prune() >= lines - 1


@scenario
async def test_what_is_too_old_goes_and_is_not_brought_back(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        twin = system.active
        await sessions(twin, 3)
        lines, _ = verified(system, await export(twin))
        for upstream in system.upstreams:
            await pruned(upstream, len(lines))
        twin.agent.record_sync.interval = 0.02
        twin.agent.record_sync.begin_term(0.0)
        await sessions(twin, 1)
        answer = await export(twin)
        assert [line.seq for line in verified(system, answer)[0]] in ([6, 7, 8], [7, 8])
        whole = Reader(answer.content.splitlines())
        assert list(whole)
        assert not whole.span.whole
        after = dt.datetime.fromtimestamp(lines[-1].time_ms / 1000 + 0.001, dt.UTC).isoformat()
        later = Reader((await export(twin, **{"from": after})).content.splitlines())
        assert [line.seq for line in later] == [7, 8]
        assert later.span.whole, "nothing of this span was too old"
        assert twin.agent.record_sync.alarms == ()


@scenario
async def test_nobody_vouches_for_the_future(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        answer = await export(system.active, to="2100-01-01T00:00:00Z")
        assert answer.status_code == 422
        assert "nobody can vouch for what has not happened" in answer.json()["detail"]


@scenario
async def test_one_upstream_alone_vouches_for_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, item()) as system:
        twin = system.active
        twin.agent.record_sync.begin_term(float("inf"))
        await sessions(twin, 2)
        heads = twin.agent.replicator.ledger.heads
        await until(lambda: all(one.ledger.heads == heads for one in system.upstreams), "all have the lines")
        for upstream in system.upstreams[:2]:
            with upstream.store.transaction():
                upstream.store._db.execute("UPDATE record SET hash = zeroblob(32) WHERE seq = 4")
        answer = await export(twin)
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:tmr:problem:no-quorum"
        assert "up1: line 4 of the record differs" in answer.json()["detail"]


def test_a_file_that_is_cut_off_is_noticed() -> None:
    with pytest.raises(BadExport, match="cut off"):
        list(Reader([]))
