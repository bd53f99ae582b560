# SPDX-License-Identifier: Apache-2.0
"""Constituents count while the container that stated them is the one that answers."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.ledger import Command, Grant, Granted, Ledger, StateContainers, Trust, Withdraw, encode
from tmr.ledger.constituents import Standing, counting, standing, withdrawals
from tmr.ledger.continuity import lost
from tmr.licensing import (
    LicenceKey,
    ProductItem,
    SignedStatement,
    Statement,
    fingerprint,
    raw_public_key,
    sign,
)

FIRM, PRODUCT = 6_000_010, 1001
KEY = LicenceKey(FIRM, PRODUCT, 1)
ITEM = ProductItem(FIRM, PRODUCT, 1, quantity=2, expiration_ms=None)
NOW = 1_800_000_000_000


class Box(msgspec.Struct):
    """A container: its key, and who states it."""

    upstream: str
    key: Ed25519PrivateKey
    serial: str

    @property
    def fingerprint(self) -> str:
        return fingerprint(raw_public_key(self.key))

    def state(self, generation: int = 1) -> SignedStatement:
        return sign(Statement(self.upstream, self.serial, "lab-0123456789ab", generation, (ITEM,)), self.key)


class Shown(msgspec.Struct, frozen=True):
    """An upstream that answers."""

    name: str
    container: str
    generation: int = 1
    counts: bool = True


BOXES = [Box(f"up{n}", Ed25519PrivateKey.generate(), f"130-100{n}") for n in (1, 2, 3)]
NEW = Box("up2", Ed25519PrivateKey.generate(), "130-1009")


class Journal:
    """A ledger with the three containers."""

    def __init__(self) -> None:
        self.ledger, self.index = Ledger(), 0
        self.do(StateContainers(tuple(box.state() for box in BOXES)))

    def do(self, command: Command) -> object:
        self.index += 1
        return self.ledger.apply(self.index, NOW + self.index, encode(command))

    def grant(self) -> object:
        name = f"request-{self.index}"
        return self.do(Grant(name, "alice", name, FIRM, PRODUCT, (KEY,), "user-limit", 60, "cad-07"))


def shown(*boxes: Box, generation: int = 1) -> list[Shown]:
    return [Shown(box.upstream, box.fingerprint, generation) for box in boxes]


def test_a_container_that_answers_counts() -> None:
    ledger = Journal().ledger
    assert counting(ledger, shown(*BOXES)) == {"up1", "up2", "up3"}
    assert counting(ledger, [Shown("up1", BOXES[0].fingerprint, counts=False)]) == set()


@pytest.mark.parametrize(
    ("container", "generation", "expected"),
    [
        (BOXES[1].fingerprint, 1, "counts"),
        (BOXES[1].fingerprint, 2, "counts"),
        (BOXES[1].fingerprint, 0, "older"),
        (NEW.fingerprint, 1, "another"),
        ("", 1, "unknown"),
    ],
    ids=["same", "newer", "older", "another key", "none"],  # keys are new in each process
)
def test_standing_of_a_statement(container: str, generation: int, expected: Standing) -> None:
    assert standing(Journal().ledger, "up2", container, generation) == expected


def test_nothing_was_stated() -> None:
    assert standing(Ledger(), "up2", NEW.fingerprint, 1) == "unstated"


def test_a_withdrawn_statement_gives_nothing_with_one_that_is_left() -> None:
    journal = Journal()
    assert withdrawals(journal.ledger, shown(BOXES[0], NEW, BOXES[2])) == [Withdraw("up2", NEW.fingerprint)]
    journal.do(Withdraw("up2", NEW.fingerprint))
    assert journal.ledger.licences[KEY].agreeing == ("up1", "up3")
    assert isinstance(journal.grant(), Granted)
    assert withdrawals(journal.ledger, shown(BOXES[0], NEW, BOXES[2])) == [], "once is enough"
    assert standing(journal.ledger, "up2", BOXES[1].fingerprint, 1) == "withdrawn"
    journal.do(Withdraw("up1", NEW.fingerprint))
    assert journal.ledger.licences == {}
    assert not isinstance(journal.grant(), Granted)


def test_the_container_itself_states_again() -> None:
    journal = Journal()
    journal.do(Withdraw("up2", NEW.fingerprint))
    journal.do(StateContainers((NEW.state(5),)))
    assert journal.ledger.licences[KEY].agreeing == ("up1", "up3"), "another one needs an operator"
    journal.do(StateContainers((BOXES[1].state(),)))
    assert journal.ledger.licences[KEY].agreeing == ("up1", "up2", "up3")


def test_an_older_statement_does_not_come_back() -> None:
    journal = Journal()
    journal.do(StateContainers((BOXES[1].state(3),)))
    journal.do(Withdraw("up2", NEW.fingerprint))
    journal.do(StateContainers((BOXES[1].state(2),)))
    assert "up2" in journal.ledger.withdrawn


def test_the_new_container_is_trusted() -> None:
    journal = Journal()
    journal.do(Withdraw("up2", NEW.fingerprint))
    journal.do(Trust("up2", raw_public_key(NEW.key)))
    assert not journal.ledger.withdrawn
    journal.do(StateContainers((NEW.state(),)))
    journal.do(Withdraw("up2", NEW.fingerprint))  # late, from before it was trusted
    assert journal.ledger.licences[KEY].agreeing == ("up1", "up2", "up3")


def test_a_withdrawal_changes_no_other_upstream() -> None:
    journal = Journal()
    before = journal.ledger.snapshot()
    journal.do(Withdraw("up9", NEW.fingerprint))
    journal.do(Withdraw("up2", BOXES[1].fingerprint))
    assert not journal.ledger.withdrawn
    assert journal.ledger.licences[KEY].agreeing == ("up1", "up2", "up3")
    assert len(journal.ledger.snapshot()) == len(before)


def test_a_snapshot_remembers_it() -> None:
    journal = Journal()
    journal.do(Withdraw("up2", NEW.fingerprint))
    again = Ledger()
    again.restore(journal.ledger.snapshot())
    assert again.withdrawn == {"up2"}
    assert again.licences == journal.ledger.licences
    assert again.snapshot() == journal.ledger.snapshot()
    assert lost(Journal().ledger, again) == "", "a withdrawal is no loss"
