# SPDX-License-Identifier: Apache-2.0
"""Outcomes for retries: kept as long as promised, at the advertised rate, whatever time does."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
import pytest

from tests.unit.ledger.world import FIRM, PRODUCT, START_MS, World, item, key
from tmr.client._retry import KEY_PATIENCE, Policy
from tmr.ledger import (
    Command,
    Consume,
    Consumed,
    Denied,
    Grant,
    Granted,
    Ledger,
    RecordDenials,
    Waiting,
    memory,
)
from tmr.ledger.memory import PROMISED_MS, REMEMBER_MS, STEP_MS, IdempotencyTable
from tmr.ledger.state import Stored
from tmr.ledger.state_digest import StateDigest

RATE = 5_000
"""Outcomes a second that the system is sized for."""
HOUR_MS = 3_600_000


class Asked(World):
    """A world whose outcomes are looked at more closely than their type allows."""

    def come(self, command: Command) -> Any:
        """The outcome."""
        return self.do(command)

    def taking(self, session: str, units: int) -> Consume:
        """A request for units of the client `alice`."""
        return Consume(self.next_id("request-"), "alice", session, units)


def test_an_outcome_outlives_the_patience_of_every_client() -> None:
    policy = Policy()
    assert policy.patience <= KEY_PATIENCE
    # The last attempt begins at the end of the patience, and its connection and answer take time.
    longest = KEY_PATIENCE + 2 * policy.longest_connect + policy.read
    # A leap of certified time, as at a failover, ages it by one step.
    assert 1000 * longest + 3 * STEP_MS <= PROMISED_MS


def granting(number: int, clients: int) -> tuple[Grant, Granted]:
    """A usual request, and what came of it."""
    session, client = f"{number:032x}", f"client-{number % clients}"
    request = Grant(
        f"{number:036}", client, session, FIRM, PRODUCT, (key(),), "user-limit", 60, "cad-07.example", "kim"
    )
    return request, Granted(session, key(), "user-limit", 60, START_MS, 17, 200_000)


def test_at_the_advertised_rate_every_outcome_is_remembered_as_long_as_promised() -> None:
    """Seconds of steady time, in entries of 200 commands: 70 s at 5,000 a second, of ten clients."""
    found = IdempotencyTable((), (), 0, StateDigest())
    for entry in range(70 * RATE // 200):
        found.advance(200_000 // RATE)
        for number in range(entry * 200, entry * 200 + 200):
            found.forget()
            request, outcome = granting(number, 10)
            assert not found.too_many(request.client)
            found.remember(request, outcome)
    last = 70 * RATE
    promised = range(last - (PROMISED_MS // 1000 * RATE - 200), last, 997)
    for number in promised:
        request, outcome = granting(number, 10)
        known = found.outcome(request.client, request.request_id)
        assert known is not None and known.answers(request) and known.outcome == outcome
    taken = sum(map(len, found.outcomes()))
    assert taken < 0.7 * memory.MAX_SIZE, "there is room for more than that"
    assert len(found.outcomes()) <= PROMISED_MS // 1000 * RATE + 200, "older ones made room"


@pytest.fixture
def small() -> Iterator[None]:
    """At most 8 outcomes younger than promised, 4 of them one client's; 12 in all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "MAX_REMEMBERED", 8)
        patch.setattr(memory, "MAX_OLDER", 12)
        yield


@pytest.mark.usefixtures("small")
def test_new_requests_are_denied_and_no_outcome_is_forgotten_before_its_time() -> None:
    found = Asked(item(quantity=None, units=100))
    asked = [found.asking(client=client) for client in ("alice",) * 4 + ("bob",) * 3]
    held = [found.come(one) for one in asked]
    more = found.asking()
    denied = found.come(more)
    assert isinstance(denied, Denied) and denied.reason == "overloaded"
    assert denied.detail.startswith("4 requests of this client were carried out in the last 60 s")
    assert found.ledger.review(more, found.now) == denied
    units = found.taking(held[0].session, 5)
    assert found.come(units).reason == "overloaded"
    assert isinstance(found.grant(client="bob"), Granted), "one client leaves room to others"
    other = found.asking(client="carol")
    assert found.come(other).detail.startswith("8 requests were carried out in the last 60 s")
    for one, outcome in zip(asked, held, strict=True):
        assert found.come(one) == outcome, "a retry is answered all the same"
    assert found.free(held[0].session).existed, "and what is held can be given back"
    # Nothing else comes: the ledger says itself that time is to be told.
    for _ in range(PROMISED_MS // STEP_MS):
        assert not found.ledger.ripe(found.now + STEP_MS - 1)
        found.pass_time(STEP_MS)
        assert found.ledger.ripe(found.now)
        found.come(RecordDenials(()))
    assert not found.ledger.ripe(found.now + HOUR_MS)
    assert isinstance(found.come(more), Granted), "the refusal was for the moment"
    assert isinstance(found.come(other), Granted)
    assert found.come(asked[1]) == held[1], "older ones are kept while there is room"


@pytest.mark.usefixtures("small")
def test_a_place_in_the_queue_becomes_a_session_however_many_outcomes_there_are() -> None:
    found = Asked(item(quantity=1))
    holder = found.grant(client="bob")
    waits = found.asking(client="carol", wait=True)
    assert isinstance(found.come(waits), Waiting)
    for number in range(7):
        found.grant(client=f"client-{number}")
    assert found.grant(client="dora").reason == "overloaded"
    found.free(holder.session)
    assert isinstance(found.come(waits), Granted)


def test_a_leap_of_time_makes_no_retry_a_new_request() -> None:
    found = Asked(item(quantity=None, units=100))
    asked = found.asking(client="alice")
    granted = found.come(asked)
    assert isinstance(granted, Granted)
    units = found.taking(granted.session, 10)
    taken = found.come(units)
    assert isinstance(taken, Consumed)
    for leap in (HOUR_MS, 24 * HOUR_MS, 400 * 24 * HOUR_MS):
        found.pass_time(leap)
        found.come(RecordDenials(()))
        assert found.come(units) == taken
        assert found.come(asked) == granted
    ended = found.free(granted.session)
    found.pass_time(HOUR_MS * 100)
    found.come(RecordDenials(()))
    assert ended.existed and granted.session in found.ledger.ended


def test_outcomes_are_kept_for_ten_minutes_while_there_is_room() -> None:
    found = Asked(item(quantity=None))
    asked = found.asking()
    found.come(asked)
    for _ in range(REMEMBER_MS // STEP_MS - 1):
        found.pass_time(STEP_MS)
        found.come(RecordDenials(()))
    assert found.ledger.remembered("alice", asked.request_id) is not None
    found.pass_time(STEP_MS)
    found.come(RecordDenials(()))
    assert found.ledger.remembered("alice", asked.request_id) is None


@pytest.mark.usefixtures("small")
def test_a_ledger_from_a_snapshot_remembers_and_denies_the_same() -> None:
    found, clients = Asked(item(quantity=None)), ("alice", "bob", "carol")
    for number in count():
        found.grant(client=clients[number % 3])
        found.pass_time(700)
        other = Ledger()
        other.restore(found.ledger.snapshot())
        assert other.snapshot() == found.ledger.snapshot()
        for client in clients:
            new = found.asking(client=client)
            assert other.review(new, found.now) == found.ledger.review(new, found.now)
        if len(msgspec.msgpack.decode(found.ledger.snapshot(), type=Stored).remembered) > 9 or number > 200:
            break
    assert number < 200


@pytest.mark.parametrize("other", [{"user": "x"}, {"ttl": 61}, {"units": 1}, {"station": "elsewhere"}])
def test_another_request_under_the_same_key_is_refused(other: dict[str, object]) -> None:
    found = Asked(item(quantity=None, units=9))
    asked = found.asking(process="cad.exe")
    assert isinstance(found.come(asked), Granted)
    changed = msgspec.structs.replace(asked, **other)
    assert found.ledger.review(changed, found.now) == found.come(changed)
    assert found.come(changed).reason == "conflicting-key"
    again = msgspec.structs.replace(asked, session="f" * 32, keys=(), address="10.0.0.9", wait=True)
    assert isinstance(found.come(again), Granted), "what the server adds, and waiting, may differ"
    restarted = msgspec.structs.replace(asked, process="cad.exe[2]")
    assert isinstance(found.come(restarted), Granted), "a program that was started again repeats its request"
