"""How many sessions and borrowings there can be: one past the limit is denied, and nobody is forgotten."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ledger.world import FIRM, PRODUCT, World, item, key
from tmr.ledger import Borrowed, Denied, Freed, Granted, Ledger, Waiting, choose
from tmr.ledger.choose import Asked
from tmr.ledger.promote import blocked
from tmr.licensing import LicenceKey, ProductItem

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
        == "2 borrowings are out, and this system has no more at a time"
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
        books, now = self.world.ledger._books, self.world.now
        for product, queue in self.world.ledger.queues.items():
            before: set[LicenceKey] = set()
            for waiter in queue.values():
                choice = books.chooser.choose(Asked.by(waiter.grant), now, before)
                assert not isinstance(choice, ProductItem), waiter
                before |= choice.blocks
            assert blocked(books, product, now) <= before


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
