# SPDX-License-Identifier: Apache-2.0
"""An upstream lets no twin speak for its container, nor take back what only ever grows."""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.unit.ledger.world import FIRM, START_MS, container_key, item, key, sealed, stated
from tmr.ledger import Command, Consume, Free, Grant, Ledger, StateContainers, Trust, Withdraw, encode
from tmr.ledger.continuity import lost
from tmr.ledger.state import Stored
from tmr.licensing import SignedStatement, Statement, raw_public_key, sign
from tmr.upstream.own_container import OwnContainerValidator

NAMES = ("up1", "up2", "up3")
OWN = raw_public_key(container_key(1))
STRANGE = Ed25519PrivateKey.from_private_bytes(bytes([77]) * 32)


def ledger(*statements: SignedStatement) -> Ledger:
    made = Ledger()
    if statements:
        made.apply(1, START_MS, encode(StateContainers(statements)))
    return made


def used() -> Ledger:
    """Three containers, and four of ten units taken."""
    made = ledger(*stated(1, (item(quantity=5, units=10, usage_s=3600),)))
    grant = Grant("r", "alice", "s", FIRM, 1001, (key(),), "user-limit", 60, "cad-07")
    commands: list[Command] = [grant, Consume("c", "alice", "s", 4)]
    for index, command in enumerate(commands, 2):
        made.apply(index, START_MS + index, encode(command))
    return made


def strange(upstream: str, number: int = 9) -> SignedStatement:
    statement = Statement(upstream, f"130-200{number}", "test-0123456789abcdef", 5, (item(quantity=99),))
    return sign(statement, STRANGE)


@pytest.mark.parametrize(
    ("known", "command", "refused"),
    [
        (3, Trust("up1", bytes(32)), "another key for up1"),
        (3, Trust("up1", OWN), ""),
        (3, Trust("up2", bytes(32)), ""),
        (0, Trust("up1", bytes(32)), "another key for up1"),
        (0, StateContainers((strange("up1"),)), "not the one here"),
        (3, StateContainers((strange("up1"),)), ""),  # the ledger does not believe it
        (0, StateContainers((strange("x", 7), strange("y", 8), strange("z", 9))), "without up1"),
        (0, StateContainers((strange("x", 7), strange("y", 8))), ""),
        (3, StateContainers(stated(1, ())), ""),
        (3, Free("s", None, "operator"), ""),
        (3, Withdraw("up1", "ab" * 32), ""),  # it takes away, and gives nothing
        (3, Withdraw("up2", "ab" * 32), ""),
    ],
)
def test_commands(known: int, command: Any, refused: str) -> None:
    made = ledger(*stated(1, (item(),))[:known])
    why = OwnContainerValidator(made, "up1", OWN).command(encode(command))
    assert (refused in why) if refused else (why == "")


def test_what_cannot_be_read_is_the_ledgers_to_deny() -> None:
    assert OwnContainerValidator(ledger(), "up1", OWN).command(b"\xc1") == ""


def test_a_replaced_container_is_trusted_by_its_upstream() -> None:
    """The new upstream has a ledger that trusts the old container, until an operator says otherwise."""
    made = ledger(*stated(1, (item(),)))
    new = raw_public_key(STRANGE)
    validator = OwnContainerValidator(made, "up1", new)
    assert validator.state(made.snapshot(), fresh=True) == ""
    assert validator.state(made.snapshot(), fresh=False) == "", "it still trusts the one that it did"
    assert validator.command(encode(Trust("up1", new))) == ""
    assert "another key" in validator.command(encode(Trust("up1", bytes(32))))
    made.apply(9, START_MS + 9, encode(Trust("up1", new)))
    assert "another key" in validator.command(encode(Trust("up1", OWN))), "an old Trust comes again"


def changed(**values: Any) -> bytes:
    stored = msgspec.msgpack.decode(used().snapshot(), type=Stored)
    for name, value in values.items():
        setattr(stored, name, value)
    return sealed(stored)


def test_the_own_state_and_what_came_of_it_are_taken() -> None:
    before, after = used(), used()
    validator = OwnContainerValidator(before, "up1", OWN)
    assert validator.state(after.snapshot(), fresh=False) == ""
    after.apply(9, START_MS + 9, encode(Free("s", "alice", "release")))
    after.apply(10, START_MS + 10, encode(StateContainers(stated(2, ()))))
    assert validator.state(after.snapshot(), fresh=False) == ""
    older, newer = ledger(*stated(1, ())), ledger(*stated(2, ()))
    assert lost(older, newer) == ""
    assert "older statement" in lost(newer, older)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (b"", "another key for up1"),
        (b"\xc1", "cannot be read"),
        (b"\x91" * 100_000, "cannot be read"),
        (changed(counters=[]), "gives back units"),
        (changed(heads={}), "forgets lines"),
        (changed(trusted={**used().trusted, "up1": bytes(32)}), "cannot be read"),
        (changed(trusted={}), "cannot be read"),
        (changed(trusted={}, statements={}), "another key for up1"),
        (changed(trusted={n: bytes(32) for n in ("x", "y", "z")}, statements={}), "no place for up1"),
    ],
)
def test_states(state: bytes, words: str) -> None:
    assert words in OwnContainerValidator(used(), "up1", OWN).state(state, fresh=False)


def test_an_older_state_is_not_gone_back_to() -> None:
    before = ledger(*stated(1, (item(quantity=5, units=10, usage_s=3600),)))
    assert "gives back" in lost(used(), before)
    assert lost(before, used()) == ""
    counters = [msgspec.structs.replace(one, first_use_ms=1) for one in used().counters]
    moved = Ledger()
    moved.restore(changed(counters=counters))
    assert "start of the Usage Period" in lost(used(), moved)
    listed = used()
    listed.restore(changed(access_version=1))
    assert "older access list" in lost(listed, used())
