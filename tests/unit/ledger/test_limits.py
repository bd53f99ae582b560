# SPDX-License-Identifier: Apache-2.0
"""Limits of sessions and borrowings: one past the limit is denied, and nobody is forgotten."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ledger.world import FIRM, PRODUCT, World, item, key, sealed
from tmr.ledger import Borrowed, Denied, Freed, Granted, Ledger, Waiter, Waiting, choose, memory
from tmr.ledger.choose import LicenceQuery
from tmr.ledger.commands import TOGETHER_MAX
from tmr.ledger.promote import blocked
from tmr.ledger.queue import MAX_WAITING
from tmr.ledger.state import Ended, Session, Stored
from tmr.licensing import LicenceKey, ProductItem
from tmr.rpc.registry import SNAPSHOT_LIMIT
from tmr.rpc.upstream_client import REPLY_LIMIT
from tmr.service.liveness import LivenessTable

OTHER = PRODUCT + 1
KEYS = {PRODUCT: (key(1),), OTHER: (LicenceKey(FIRM, OTHER, 2),)}


@pytest.fixture
def limits() -> Iterator[None]:
    """Small ones: at most 4 sessions, 3 of one client; 2 borrowings, 1 of one client."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "MAX_SESSIONS", 4)
        patch.setattr(choose, "MAX_SESSIONS_OF_CLIENT", 3)
        patch.setattr(choose, "MAX_BORROWINGS", 2)
        patch.setattr(choose, "MAX_BORROWINGS_OF_CLIENT", 1)
        yield


def world(seats: int | None = None, others: int | None = 1) -> World:
    """Two products."""
    return World(item(1, seats, borrow_s=3600), item(2, others, product_code=OTHER))


def test_the_limits_are_far_apart() -> None:
    assert choose.MAX_SESSIONS == 200_000
    assert choose.MAX_SESSIONS_OF_CLIENT == choose.MAX_SESSIONS // 2
    assert choose.MAX_BORROWINGS_OF_CLIENT == choose.MAX_BORROWINGS // 2


@pytest.mark.usefixtures("limits")
def test_one_client_leaves_sessions_to_others() -> None:
    found = world()
    held = [found.grant() for _ in range(3)]
    assert all(isinstance(one, Granted) for one in held)
    asked = found.asking()
    denied = found.do(asked)
    assert isinstance(denied, Denied)
    assert (denied.reason, denied.detail) == (
        "overloaded",
        "this client holds 3 sessions, and no more at a time",
    )
    assert found.ledger.review(found.asking(), found.now) == denied
    assert isinstance(found.grant(client="bob"), Granted)
    full = found.grant(client="carol")
    assert full.detail == "this system holds 4 sessions, and no more at a time"
    assert len(found.ledger.sessions) == 4
    # The same key again, when there is room: the refusal was for the moment.
    found.free(held[0].session)
    assert isinstance(found.do(asked), Granted)


@pytest.mark.usefixtures("limits")
def test_one_client_leaves_borrowings_to_others() -> None:
    found = world()
    lent = found.borrow(60)
    assert isinstance(lent, Borrowed)
    assert found.borrow(60).detail == "this client has 1 borrowings, and no more at a time"
    assert isinstance(found.borrow(60, client="bob"), Borrowed)
    assert (
        found.borrow(60, client="carol").detail
        == "2 borrowings are out, and there is no room for more at a time"
    )
    found.give_back(lent.borrow)
    assert isinstance(found.borrow(60), Borrowed)


@pytest.mark.usefixtures("limits")
def test_who_could_not_have_a_seat_for_want_of_sessions_gets_it_then() -> None:
    """Its seat came back while there were too many sessions: of another product, that one."""
    found = world()
    ours = {"product_code": OTHER, "keys": KEYS[OTHER]}
    holder = found.grant(client="bob", **ours)
    place = found.grant(client="alice", wait=True, **ours)
    assert isinstance(place, Waiting)
    held = [found.grant(keys=KEYS[PRODUCT]) for _ in range(3)]
    assert isinstance(held[2], Granted), "alice is at her limit"
    assert found.free(holder.session).promoted == ()
    freed = found.free(held[0].session)
    assert isinstance(freed, Freed)
    assert [granted.session for granted in freed.promoted] == [place.session]


@pytest.mark.usefixtures("limits")
def test_an_instance_that_comes_back_leaves_its_session_to_who_waits() -> None:
    """It asks for what it does not get: the session that it had has ended all the same."""
    found = world()
    ours = {"product_code": OTHER, "keys": KEYS[OTHER]}
    found.grant(client="bob", **ours)
    waits = found.grant(client="dora", wait=True, **ours)
    found.grant(instance="i", keys=KEYS[PRODUCT])
    for _ in range(2):
        assert isinstance(found.grant(client="carol", keys=KEYS[PRODUCT]), Granted)
    found.update(item(1, None), item(2, 2, product_code=OTHER))
    assert list(found.ledger.waiting) == [waits.session], "a seat more, but no session more"
    denied = found.grant(instance="i", keys=KEYS[PRODUCT], mode="exclusive")
    assert isinstance(denied, Denied)
    assert [granted.session for granted in denied.promoted] == [waits.session]


class Both:
    """A ledger, and one that is made anew from its snapshot for each command."""

    def __init__(self) -> None:
        self.world = world(seats=3, others=2)

    def do(self, command: Any) -> None:
        other = Ledger()
        other.restore(self.world.ledger.snapshot())
        self.world.ledger, ours = other, self.world.ledger
        self.world.do(command)
        self.world._index -= 1
        self.world.ledger = ours
        self.world.do(command)
        assert other.digest() == ours.digest()
        self.nobody_waits_in_vain()

    def nobody_waits_in_vain(self) -> None:
        ledger_state, now = self.world.ledger._ledger_state, self.world.now
        for product, queue in self.world.ledger.queues.items():
            before: set[LicenceKey] = set()
            for waiter in queue.values():
                choice = ledger_state.chooser.choose(LicenceQuery.by(waiter.grant), now, before)
                assert not isinstance(choice, ProductItem), waiter
                before |= choice.blocks
            assert blocked(ledger_state, product, now) <= before


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("grant"),
            st.sampled_from(("alice", "bob", "carol")),
            st.sampled_from((PRODUCT, OTHER)),
            st.sampled_from(("user-limit", "no-user-limit", "exclusive", "station-share")),
            st.sampled_from(("", "i")),
        ),
        st.tuples(st.just("free"), st.integers(0, 9)),
        st.tuples(st.just("leave"), st.integers(0, 9)),
    ),
    max_size=25,
)


@pytest.mark.usefixtures("limits")
@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_at_the_limits_nobody_waits_who_could_have_a_seat(steps: list[tuple[Any, ...]]) -> None:
    both = Both()
    found = both.world
    for step in steps:
        if step[0] == "grant":
            _, client, product, mode, instance = step
            asked = {"client": client, "product_code": product, "mode": mode, "instance": instance}
            both.do(found.asking(keys=KEYS[product], wait=True, **asked))
        else:
            held = list(found.ledger.sessions if step[0] == "free" else found.ledger.waiting)
            if held:
                both.do(found.freeing(held[step[1] % len(held)]))
        assert len(found.ledger.sessions) <= 4


# -- room in a snapshot ------------------------------------------------------------------------------------

OUTCOME_MAX = 1_500
"""Bytes of an outcome that is remembered, at most: a denial with the longest names in it."""
LONG = "\U0001f511" * 255
"""As long as a text can be: 1020 bytes."""


def test_long_texts_take_room_from_their_client_alone() -> None:
    found = world()
    texts = {"station": LONG, "user": LONG, "process": LONG, "instance": LONG, "address": "10.0.0.1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "MAX_SESSIONS_SIZE", 4 * 4 * 1020)
        held = []
        for number in range(2):
            held.append(found.grant(**{**texts, "instance": f"{LONG[:-1]}{number}", "process": LONG + "abc"}))
            assert isinstance(held[-1], Granted)
        denied = found.grant()
        assert (denied.reason, denied.detail) == (
            "overloaded",
            "this client holds 2 sessions, and no more at a time",
        )
        restored = Ledger()
        restored.restore(found.ledger.snapshot())
        assert restored.review(found.asking(), found.now) == denied
        assert isinstance(found.grant(client="bob"), Granted)
        found.free(held[0].session)
        assert isinstance(found.grant(), Granted)


def test_all_that_a_ledger_can_keep_fits_into_a_snapshot() -> None:
    """What an upstream takes as a snapshot, and the twin as an answer, is more than clients can fill."""
    waiter = Waiter(
        World(item()).asking(station=LONG, user=LONG, process=LONG, instance=LONG, wait=True), 2**53
    )
    ended = Ended("x" * 32, "x" * 255, KEYS[PRODUCT][0], "operator", "operator " + "x" * 255, 2**53, 2**53)
    most = (
        choose.MAX_SESSIONS_SIZE
        + choose.MAX_BORROWINGS_SIZE
        + memory.MAX_SIZE * 1.05  # what makes a list of them
        + (MAX_WAITING + TOGETHER_MAX) * OUTCOME_MAX  # of those who had a place before there were too many
        + MAX_WAITING * len(msgspec.msgpack.encode(waiter))
        + memory.MAX_ENDED * len(msgspec.msgpack.encode(ended))
    )
    assert most < 0.95 * SNAPSHOT_LIMIT
    assert SNAPSHOT_LIMIT <= REPLY_LIMIT


def test_the_room_that_an_entry_takes_is_not_more_than_assumed() -> None:
    options = {"borrow_s": 3600, "units": 2**50, "usage_s": 10**8, "feature_map": 2**32 - 1}
    found = World(item(2**32 - 1, 2**31 - 1, **options))
    found.grant(mode="exclusive", units=2**50 + 1, user=LONG)
    granted = found.grant(
        mode="station-share", station=LONG, instance=LONG, request_id="r" * 128, session="s" * 32, units=3
    )
    lent = found.borrow(3600, station=LONG, user=LONG, borrow="b" * 32)
    assert isinstance(granted, Granted)
    assert isinstance(lent, Borrowed)
    ledger_state = found.ledger._ledger_state
    found.consume(granted.session, 7)
    for kept in (found.ledger.sessions[granted.session], found.ledger.borrowings[lent.borrow]):
        assert len(msgspec.msgpack.encode(kept)) <= kept.size <= 5 * 1020
    assert all(len(one) <= OUTCOME_MAX for one in ledger_state.memory.outcomes())


def test_the_real_limit() -> None:
    """200,000 sessions of two clients, as they come from a snapshot: no more, and each end is quick work."""
    found = world()
    stored = msgspec.msgpack.decode(found.ledger.snapshot(), type=Stored)
    stored.sessions = [
        Session(
            f"{number:032x}", f"client-{number % 2}", key(1), "user-limit", 60, "cad-07", "", "", found.now
        )
        for number in range(choose.MAX_SESSIONS)
    ]
    found.ledger.restore(sealed(stored))
    ours = {"product_code": OTHER, "keys": KEYS[OTHER]}
    assert "200000 sessions" in found.grant(client="bob", **ours).detail
    assert "this system" in found.grant(client="client-0", keys=KEYS[PRODUCT]).detail
    first, second = list(found.ledger.sessions)[:2]
    assert found.free(first) == Freed(session=first, existed=True)
    assert found.free(second) == Freed(session=second, existed=True)
    assert isinstance(found.grant(client="client-0", keys=KEYS[PRODUCT]), Granted)
    own = found.grant(client="client-0", keys=KEYS[PRODUCT])
    assert own.detail == "this client holds 100000 sessions, and no more at a time"
    assert isinstance(found.grant(client="bob", **ours), Granted)
    assert len(found.ledger.sessions) == choose.MAX_SESSIONS
    beats = LivenessTable()
    beats.begin_term(0.0, [(one.id, one.ttl) for one in found.ledger.sessions.values()])
    assert beats.heartbeat(1.0, first) == "unknown"
    assert len(beats.expired(61.0, 500)) == 0
    assert len(beats.expired(1e6, 500)) == 500
