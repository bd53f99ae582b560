# SPDX-License-Identifier: Apache-2.0
"""Waiting, units, ends of sessions, borrowing, explanations: both clients against the test's server."""

import asyncio
import datetime as dt
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.peer import SERIAL, Peer, drop_after, problem
from tests.unit.client.test_clients import FIRM, PRODUCT, QUICK, Both, Driver, both, until
from tmr.api.access import AccessList, AccessRule
from tmr.api.borrowing import BorrowRequest
from tmr.api.explain import ExplainRequest
from tmr.api.problems import problem as problem_document
from tmr.api.sessions import EndedBy, EndedSession, QueuePlace, Session, SessionRequest
from tmr.client import (
    AccessListChanged,
    BadRequest,
    BorrowFailed,
    Config,
    EntryNotFound,
    NoMoreLicences,
    NoService,
    NotEnoughUnits,
    Policy,
    SessionLost,
)
from tmr.client._waiting import NEXT, OTHERS, anew, patience, pause

__all__ = ["both"]  # a fixture

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
REQUEST = SessionRequest(firm_code=FIRM, product_code=PRODUCT, station="cad-07")


def place(position: int = 1, ttl: int = 60) -> QueuePlace:
    return QueuePlace(
        id="s-1",
        firm_code=FIRM,
        product_code=PRODUCT,
        position=position,
        waiting=max(2, position),
        since=NOON,
        ttl=ttl,
        epoch=1,
    )


# -- when to ask again -------------------------------------------------------------------------------------


def test_patience() -> None:
    assert patience(True) is None
    assert [patience(each) for each in (False, 0, 1, 2.5)] == [0.0, 0.0, 1.0, 2.5]


@given(st.integers(1, 100), st.integers(1, 3600), st.none() | st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_place_is_asked_for_in_time(position: int, ttl: int, deadline: float | None, now: float) -> None:
    """Several times within its time to live, and never much after the deadline."""
    seconds = pause(place(position, ttl), deadline, now)
    if deadline is not None and now >= deadline:
        assert seconds is None
        return
    assert seconds is not None
    assert 0 < seconds <= min(ttl / 4, NEXT if position == 1 else OTHERS)
    assert deadline is None or now + seconds <= deadline + 0.01


@pytest.mark.parametrize(
    ("wait", "waited", "ended", "units"),
    [
        (False, False, False, 0),
        (False, False, True, 0),
        (True, False, True, 0),
        (True, False, False, 12),
        (False, True, False, 12),  # its patience was over when it asked again
        (False, True, True, 0),
    ],
)
def test_units_are_not_taken_again(wait: bool, waited: bool, ended: bool, units: int) -> None:
    """What was granted took them; a place in the queue, of whose end nothing is told, did not."""
    how = EndedSession(id="s-1", by=EndedBy.EXPIRY, at=NOON) if ended else None
    lost = SessionLost(problem_document("session-lost", "gone", ended=how))
    asked = REQUEST.model_copy(update={"units": 12, "wait": wait})
    assert anew(asked, lost, waited=waited) == asked.model_copy(update={"units": units})


# -- the queue ---------------------------------------------------------------------------------------------


def test_a_place_becomes_a_session(both: Both, peer: Peer, config: Config) -> None:
    """With the same key in all requests, and the position told."""
    peer.state.others = 5
    told: list[QueuePlace] = []

    async def work(client: Driver) -> None:
        asking = asyncio.create_task(client.enter(wait=True, on_wait=told.append))
        await until(lambda: len(told) >= 2)
        peer.state.free()
        session = await asking
        assert session.id == told[0].id
        assert session.state == "held"

    both.run(work, config)
    assert {(each.position, each.waiting) for each in told} == {(1, 1)}
    assert len({seen.key for seen in peer.requests("POST", "/v1/sessions")}) == 1
    assert len(peer.requests("DELETE", "/v1/sessions/.*")) == 1, "only the release of the session"


def test_first_come_first_served(both: Both, peer: Peer, config: Config) -> None:
    peer.state.others = 5
    positions: list[int] = []

    async def work(client: Driver) -> None:
        first = asyncio.create_task(client.enter(wait=True))
        await until(lambda: len(peer.state.queue) == 1)
        second = asyncio.create_task(client.enter(wait=True, on_wait=lambda p: positions.append(p.position)))
        await until(lambda: positions == [2])
        peer.state.free()
        assert (await first).id == "s-1"
        peer.state.free()
        assert (await second).id == "s-2"

    both.run(work, config)


def test_a_seat_that_is_free_is_not_waited_for(both: Both, peer: Peer, config: Config) -> None:
    async def work(client: Driver) -> None:
        await client.enter(wait=10.0)

    both.run(work, config)
    assert len(peer.requests("POST", "/v1/sessions")) == 1


def test_when_patience_is_over_the_refusal_names_the_holders(both: Both, peer: Peer, config: Config) -> None:
    peer.state.others = 5

    async def work(client: Driver) -> None:
        began = time.monotonic()
        with pytest.raises(NoMoreLicences) as caught:
            await client.enter(wait=0.3)
        assert time.monotonic() - began >= 0.3
        assert caught.value.problem.holders[0].station == "cad-01"

    both.run(work, config)
    asked = peer.requests("POST", "/v1/sessions")
    assert [seen.body.get("wait", False) for seen in asked][-2:] == [True, False]
    assert peer.state.queue == {}


def test_the_place_is_lost_and_taken_anew(both: Both, peer: Peer, config: Config) -> None:
    """This machine slept longer than the place lives: a new key, a new place, and the units once."""
    peer.state.others = 5
    peer.state.units = 100
    places: list[str] = []

    async def work(client: Driver) -> None:
        asking = asyncio.create_task(
            client.enter(wait=True, units=12, on_wait=lambda each: places.append(each.id))
        )
        await until(lambda: len(peer.state.queue) == 1)
        peer.state.queue.clear()
        peer.faults.append(problem("session-lost"))
        await until(lambda: len(set(places)) == 2)
        peer.state.free()
        assert (await asking).id == places[-1]

    both.run(work, config)
    assert peer.state.units == 88


def test_a_place_that_is_lost_again_and_again(both: Both, peer: Peer, config: Config) -> None:
    peer.always = problem("session-lost")

    async def work(client: Driver) -> None:
        with pytest.raises(SessionLost):
            await client.enter(wait=True)

    both.run(work, config)
    keys = [seen.key for seen in peer.requests("POST", "/v1/sessions")]
    assert 2 < len(keys) == len(set(keys)) < 10


def test_a_key_of_ones_own_is_never_replaced(both: Both, peer: Peer, config: Config) -> None:
    peer.state.others = 5

    async def work(client: Driver) -> None:
        asked = REQUEST.model_copy(update={"wait": True})
        waiting = asyncio.create_task(client("acquire", asked, key="job-4711-licence"))
        await until(lambda: len(peer.state.queue) == 1)
        peer.always = problem("session-lost")
        with pytest.raises(SessionLost):
            await waiting

    both.run(work, config)
    assert {seen.key for seen in peer.requests("POST", "/v1/sessions")} == {"job-4711-licence"}


class Interrupted(BaseException):
    """As KeyboardInterrupt, but harmless to the test."""


def test_an_interruption_leaves_the_queue(both: Both, peer: Peer, config: Config) -> None:
    peer.state.others = 5

    def stop(_: QueuePlace) -> None:
        raise Interrupted

    async def work(client: Driver) -> None:
        with pytest.raises(Interrupted):
            await client.enter(wait=True, on_wait=stop)

    both.run(work, config)
    assert peer.state.queue == {}


def test_a_cancelled_task_leaves_the_queue(peer: Peer, config: Config) -> None:
    peer.state.others = 5

    async def work(client: Driver) -> None:
        told: list[QueuePlace] = []
        asking = asyncio.create_task(client.enter(wait=True, on_wait=told.append))
        await until(lambda: bool(told))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert peer.state.queue == {}

    Both("async").run(work, config)


def test_a_place_that_cannot_be_given_up_is_logged(
    both: Both, peer: Peer, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    peer.state.others = 5

    def stop(_: QueuePlace) -> None:
        peer.stop()

    async def work(client: Driver) -> None:
        with pytest.raises(NoService):
            await client.enter(wait=True, on_wait=stop)

    both.run(work, config, replace(QUICK, patience=0.3))
    assert "the place s-1 in the queue could not be given up" in caplog.text


# -- units -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [None, drop_after, problem("overloaded")])
def test_units_are_taken_once(both: Both, peer: Peer, config: Config, fault: Any) -> None:
    peer.state.units = 100

    async def work(client: Driver) -> None:
        session = await client.enter(units=10)
        assert session.licence.units_remaining == 90
        if fault is not None:
            peer.faults.append(fault)
        taken = await client.consume(session, 12)
        assert (taken.units, taken.remaining, taken.label) == (12, 78, "6000010:201 #1")
        with pytest.raises(NotEnoughUnits, match="79 units are asked for, 78 remain"):
            await client.consume(session, 79)
        with pytest.raises(BadRequest, match="units"):
            await client.consume(session, 0)

    both.run(work, config)
    assert peer.state.units == 78


def test_a_key_of_ones_own_takes_units_once(both: Both, peer: Peer, config: Config) -> None:
    peer.state.units = 100

    async def work(client: Driver) -> None:
        session = await client.enter()
        for _ in range(2):
            assert (await client("consume", session.id, 5, key="job-4711")).remaining == 95

    both.run(work, config)


def test_units_of_a_grant_that_expired_unheard_are_not_taken_again(
    both: Both, peer: Peer, config: Config
) -> None:
    """The session began, its answer was lost, it expired: the next one begins without taking units."""
    peer.state.units = 100

    def expire(handler: Any) -> bool:
        peer.state.end("s-1", EndedBy.EXPIRY)
        return True

    peer.faults.extend([drop_after, expire])

    async def work(client: Driver) -> None:
        session = await client.enter(units=12)
        assert (session.id, session.licence.units_remaining) == ("s-2", 88)

    both.run(work, config)
    assert peer.state.units == 88


# -- a session's licence, and its end ----------------------------------------------------------------------


def item(tmr_id: int, **more: Any) -> dict[str, Any]:
    return {
        **{"firm_code": FIRM, "product_code": PRODUCT, "tmr_id": tmr_id, "quantity": 5, "in_use": 1},
        **{"exclusive": False, "expiration": None, "constituents": [], **more},
    }


def test_the_licence_of_a_session(both: Both, peer: Peer, config: Config) -> None:
    peer.state.items = {"items": [item(2), item(1, feature_map=5, text="beta")], "unavailable": []}

    async def work(client: Driver) -> None:
        session = await client.enter()
        found = await client.item(session)
        assert (found.tmr_id, found.text) == (1, "beta")
        assert found.has_features(0b101)
        assert not found.has_features(0b011)
        peer.state.items = {"items": [item(2)], "unavailable": []}
        assert await client.item(session) is None

    both.run(work, config)
    assert peer.requests("GET", f"/v1/containers/{SERIAL}/items")
    assert peer.requests("GET", "/v1/containers") == []


@pytest.mark.parametrize(
    ("by", "who", "told"),
    [
        (EndedBy.OPERATOR, "operator olga", "operator olga ended it"),
        (EndedBy.REPLACED, "s-2", "the same instance of the program asked again"),
        (EndedBy.EXPIRY, "", "no heartbeat came for its time to live"),
        (EndedBy.RELEASE, "", "it was released"),
        (EndedBy.LICENCE_EXPIRED, "", "the licence has expired"),
        (EndedBy.LICENCE_NOT_ACTIVE, "", "the licence is not valid yet"),
        (EndedBy.LICENCE_REMOVED, "", "the licence was removed by an update"),
        (EndedBy.LICENCE_UNAVAILABLE, "", "too few constituents of the licence were available"),
    ],
)
def test_how_a_session_ended_is_told(
    both: Both, peer: Peer, config: Config, by: EndedBy, who: str, told: str
) -> None:
    peer.state.ttl = 1
    heard: list[Any] = []

    async def work(client: Driver) -> None:
        session = await client.enter(on_lost=lambda lost: heard.append(lost.ended))
        assert session.ended is None
        with peer.state.lock:
            peer.state.end(session.id, by, who)
        await until(lambda: bool(heard))
        assert session.ended == EndedSession(id=session.id, by=by, who=who, at=NOON) == heard[0]
        with pytest.raises(SessionLost, match=told) as caught:
            session.check()
        assert caught.value.problem.ended == session.ended
        with pytest.raises(SessionLost) as direct:
            await client("heartbeat", session.id)
        assert direct.value.problem.ended == session.ended

    both.run(work, config)


def test_the_same_instance_asks_again(both: Both, peer: Peer, config: Config) -> None:
    peer.state.quantity = 1
    peer.state.ttl = 1

    async def work(client: Driver) -> None:
        crashed = await client.enter(instance="press-3")
        again = await client.enter(instance="press-3")
        assert list(peer.state.sessions) == [again.id]
        await until(crashed.lost.is_set)
        assert (crashed.ended.by, crashed.ended.who) == ("replaced", again.id)
        with pytest.raises(NoMoreLicences):
            await client.enter(instance="press-4")

    both.run(work, config)


# -- borrowing, explanations, access list ------------------------------------------------------------------


def test_borrowing(both: Both, peer: Peer, config: Config) -> None:
    peer.faults.append(drop_after)
    asked = BorrowRequest(firm_code=FIRM, product_code=PRODUCT, seconds=3600, station="laptop-3")

    async def work(client: Driver) -> None:
        borrowing = await client("borrow", asked)
        assert borrowing.until - borrowing.since == dt.timedelta(hours=1)
        assert await client("borrowings") == (borrowing,)
        assert (await client("borrow_file", borrowing.id)).startswith(b'{"format":1,')
        await client("give_back", borrowing.id)
        await client("give_back", borrowing.id)
        assert await client("borrowings") == ()
        with pytest.raises(EntryNotFound, match="There is no borrowing"):
            await client("borrow_file", borrowing.id)
        with pytest.raises(BorrowFailed):
            await client("borrow", asked.model_copy(update={"seconds": 8 * 86400}))

    both.run(work, config)
    assert len({seen.key for seen in peer.requests("POST", "/v1/borrowings")}) == 2, "a retry has its key"


def test_explanations(both: Both, peer: Peer, config: Config) -> None:
    asked = ExplainRequest(firm_code=FIRM, product_code=PRODUCT, station="cad-07", units=3)

    async def work(client: Driver) -> None:
        assert (await client("explain", asked)).granted
        peer.state.others = 5
        found = await client("explain", asked)
        assert (found.granted, found.problem, found.asked["units"]) == (False, "no-more-licences", 3)
        assert found.licences[0].holders[0].user == "ada"

    both.run(work, config)
    assert peer.state.sessions == {}


def test_the_access_list(both: Both, peer: Peer, config: Config) -> None:
    rule = AccessRule.model_validate({"name": "north", "effect": "reserve", "seats": 3})
    wanted = AccessList(version=0, rules=(rule,))

    async def work(client: Driver) -> None:
        assert await client("access") == AccessList(version=0)
        assert (await client("set_access", wanted, check_only=True)).version == 0
        assert (await client("access")).version == 0
        assert await client("set_access", wanted) == wanted.model_copy(update={"version": 1})
        with pytest.raises(AccessListChanged):
            await client("set_access", wanted)
        twice = AccessList(version=1, rules=(rule, rule))
        with pytest.raises(BadRequest) as caught:
            await client("set_access", twice)
        assert caught.value.problem.mistakes == ("rule 'north': another rule has this name",)

    both.run(work, config)


# -- policies ----------------------------------------------------------------------------------------------


def test_a_release_holds_nobody_up_and_heartbeats_never_give_up_for_long() -> None:
    long = Policy(patience=600, refusal_patience=300, connect=2.0)
    assert (long.for_release().patience, long.for_release().refusal_patience) == (5.0, 1.0)
    assert Policy(patience=0.3).for_release().patience == 0.3, "not longer than the program wants"
    assert long.for_heartbeats().patience == 5.0
    assert long.for_release().connect == long.for_heartbeats().connect == 2.0
    assert long.after_heartbeat(NoService("silent")) < long.after_heartbeat(ValueError()) == long.beat_again


def test_a_grant_is_read_with_what_a_newer_server_adds() -> None:
    fields = {
        **{"id": "s-1", "container": SERIAL, "firm_code": FIRM, "product_code": PRODUCT, "tmr_id": None},
        **{"access_mode": "user-limit", "ttl": 60, "granted_at": NOON, "in_use": 1, "quantity": None},
    }
    granted = Session.model_validate({**fields, "epoch": 1, "reference": 2, "from-the-future": 1})
    assert (granted.label, granted.warnings, granted.emergency) == ("6000010:201 /2", (), False)
