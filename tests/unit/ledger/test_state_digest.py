# SPDX-License-Identifier: Apache-2.0
"""The digest covers the whole state, and no text for people."""

from typing import Any

import msgspec
import pytest

from tests.simulation.licences import FIRM, ITEM, KEY, PRODUCT, QUANTITY, statements
from tests.simulation.licences import changed as changed_licence
from tmr.ledger import (
    AccessList,
    Borrow,
    Command,
    Consume,
    Denied,
    Ended,
    Free,
    Grant,
    Head,
    Ledger,
    Rule,
    SetAccess,
    StateContainers,
    Withdraw,
    encode,
)
from tmr.ledger.memory import StoredOutcome
from tmr.ledger.snapshot_digest import digest_of
from tmr.ledger.state import Counter, Stored
from tmr.ledger.state_digest import DamagedState


def grant(number: int, **more: Any) -> Grant:
    return Grant(
        f"key-{number}", "alice", f"s-{number}", FIRM, PRODUCT, (KEY,), "user-limit", 60, "cad-07", **more
    )


def used() -> Ledger:
    """A ledger with something of everything."""
    ledger = Ledger()
    commands: list[Command] = [
        StateContainers(statements()),
        SetAccess(AccessList((Rule("all", "allow"),)), 0, "operator"),
        grant(1),
        Borrow("key-b", "bob", "b-1", FIRM, PRODUCT, (KEY,), 3600, "0" * 64, "cad-08"),
        Consume("key-2", "alice", "s-1", 10),
        *(grant(number, wait=True, user="ada" * (number == 4)) for number in range(3, 7)),
        Free("s-3", "alice", "release"),
        StateContainers(changed_licence(msgspec.structs.replace(ITEM, quantity=QUANTITY + 1, linger_s=60))),
        Free("s-4", "alice", "release"),
        grant(9, features=2**31),
        Withdraw("up3", "another container"),
    ]
    for index, command in enumerate(commands, 1):
        ledger.apply(index, 1_000 + index, encode(command))
    return ledger


def stored(ledger: Ledger) -> Stored:
    return msgspec.msgpack.decode(ledger.snapshot(), type=Stored)


def test_it_is_computed_alike_step_by_step_and_from_a_snapshot() -> None:
    ledger = used()
    state = stored(ledger)
    assert all(getattr(state, field) for field in Stored.__struct_fields__)
    assert digest_of(state) == state.digest == ledger.digest()
    again = Ledger()
    again.restore(ledger.snapshot())
    assert again.digest() == ledger.digest()


def changed(value: Any) -> Any:
    """Another value of the same type."""
    match value:
        case bytes():
            return value + b"x"
        case int():
            return value + 1
        case AccessList():
            return AccessList()
        case list():
            return value[1:]
        case dict():
            return dict(list(value.items())[1:])
    raise AssertionError(value)


@pytest.mark.parametrize("field", [name for name in Stored.__struct_fields__ if name != "digest"])
def test_each_part_of_the_state_is_covered(field: str) -> None:
    state = stored(used())
    other = msgspec.structs.replace(state, **{field: changed(getattr(state, field))})
    assert digest_of(other) != digest_of(state)
    with pytest.raises((DamagedState, LookupError)):
        Ledger().restore(msgspec.msgpack.encode(other))


def test_one_bit_of_a_record_is_noticed() -> None:
    state = stored(used())
    counter = state.counters[0]
    wrong = Counter(counter.key, counter.spent ^ 1 << 6, counter.first_use_ms)
    assert digest_of(msgspec.structs.replace(state, counters=[wrong])) != digest_of(state)
    firm, head = next(iter(state.heads.items()))
    heads = {firm: Head(head.seq, head.hash[:-1] + bytes([head.hash[-1] ^ 1]))}
    assert digest_of(msgspec.structs.replace(state, heads=heads)) != digest_of(state)


def test_memory_that_changed_is_noticed_when_it_is_used_and_in_the_next_snapshot() -> None:
    ledger, other = used(), used()
    other._ledger_state.usage._spent[KEY] ^= 1 << 6
    with pytest.raises(DamagedState):
        other.snapshot()
    body = encode(Consume("key-20", "alice", "s-1", 1))
    for one in (ledger, other):
        one.apply(100, 2_000, body)
    assert ledger.digest() != other.digest()


def test_how_a_session_ended_is_part_of_it() -> None:
    state = stored(used())
    ended = Ended("s-other", "alice", KEY, "release", "", 1_000, 1_000)
    assert digest_of(msgspec.structs.replace(state, ended=[*state.ended, ended])) != digest_of(state)


def test_words_of_a_refusal_are_not_part_of_it() -> None:
    state = stored(used())
    remembered = [msgspec.msgpack.decode(one, type=StoredOutcome) for one in state.remembered]
    reworded = [
        msgspec.msgpack.encode(
            msgspec.structs.replace(one, outcome=msgspec.structs.replace(one.outcome, detail="other words"))
            if isinstance(one.outcome, Denied)
            else one
        )
        for one in remembered
    ]
    assert reworded != state.remembered
    assert digest_of(msgspec.structs.replace(state, remembered=reworded)) == digest_of(state)
