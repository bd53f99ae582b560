# SPDX-License-Identifier: Apache-2.0
"""Commands that share an entry: as few entries as can be, nothing lost, nothing that must not be there."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ledger.world import START_MS, World, item, key
from tmr.ledger import (
    BatchOutcome,
    Borrow,
    Command,
    CommandBatch,
    Consume,
    Denied,
    Free,
    GiveBack,
    Grant,
    Granted,
    RecordDenials,
    Trust,
    each,
    encode,
    together,
)
from tmr.ledger.batching import FORMAT, TOGETHER_BYTES
from tmr.ledger.commands import TOGETHER_MAX, decode

SHARED: list[Command] = [
    Grant("key", "alice", "session", 6_000_010, 1, (key(),), "user-limit", 60, "station"),
    Consume("key", "alice", "session", 1),
    Borrow("key", "alice", "borrow", 6_000_010, 1, (key(),), 60, "00", "station"),
    Free("session", None, "expiry"),
    GiveBack("borrow", None, "expiry"),
]
ALONE: list[Command] = [Trust("up1", bytes(32)), RecordDenials(())]
LARGE = Consume("x" * (TOGETHER_BYTES // 3), "alice", "session", 1)


def bodies_of(body: bytes) -> tuple[bytes, ...]:
    command = decode(body)
    return command.bodies if isinstance(command, CommandBatch) else (body,)


@given(st.lists(st.sampled_from([*SHARED, *ALONE, LARGE]), max_size=12), st.sampled_from([1, TOGETHER_MAX]))
def test_all_in_their_order_and_no_more_entries_than_needed(commands: list[Command], times: int) -> None:
    given_bodies = [encode(command) for command in commands for _ in range(times)]
    entries = list(together(given_bodies, FORMAT))
    found = [bodies_of(entry.body) for entry in entries]
    assert [body for bodies in found for body in bodies] == given_bodies
    assert [len(bodies) for bodies in found] == [entry.count for entry in entries]
    for bodies in found:
        assert len(bodies) <= TOGETHER_MAX
        assert len(bodies) == 1 or sum(map(len, bodies)) <= TOGETHER_BYTES
        assert len(bodies) == 1 or all(decode(body) in (*SHARED, LARGE) for body in bodies)
    for one, other in pairwise(found):
        together_now = (*one, other[0])
        assert (
            len(together_now) > TOGETHER_MAX
            or sum(map(len, together_now)) > TOGETHER_BYTES
            or any(decode(body) in ALONE for body in (one[-1], other[0]))
        )


def test_a_member_that_does_not_know_shared_entries_gets_none() -> None:
    bodies = [encode(command) for command in SHARED]
    assert [(entry.body, entry.count) for entry in together(bodies, FORMAT - 1)] == [(b, 1) for b in bodies]


def test_what_concerns_containers_cannot_hide_among_others() -> None:
    """The upstream that guards its container does not look into a shared entry."""
    world = World(item(quantity=2))
    before = dict(world.ledger.trusted)
    hidden = CommandBatch((encode(Trust("up1", bytes(32))), encode(world.asking()), b"\xc1" * 40))
    nested = CommandBatch((encode(hidden),))
    outcome = world.ledger.apply(100, START_MS, encode(hidden))
    assert isinstance(outcome, BatchOutcome)
    trust, grant, nonsense = outcome.outcomes
    assert isinstance(trust, Denied)
    assert isinstance(nonsense, Denied)
    assert trust.reason == nonsense.reason == "bad-request"
    assert isinstance(grant, Granted)
    (inner,) = each(world.ledger.apply(101, START_MS, encode(nested)))
    assert isinstance(inner, Denied)
    assert inner.reason == "bad-request"
    assert world.ledger.trusted == before


def test_an_entry_of_nothing_and_one_of_too_much_are_not_carried_out() -> None:
    world = World(item())
    assert isinstance(world.ledger.apply(100, START_MS, encode(CommandBatch(()))), Denied)
    too_many = CommandBatch((encode(world.asking()),) * (TOGETHER_MAX + 1))
    assert isinstance(world.ledger.apply(101, START_MS, encode(too_many)), Denied)
    assert not world.ledger.sessions
