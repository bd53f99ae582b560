# SPDX-License-Identifier: Apache-2.0
"""No words for people are part of the state: members of different versions must not differ by one."""

from types import ModuleType
from typing import Any

import msgspec
import pytest

from tests.simulation.licences import FIRM, KEY, PRODUCT, statements
from tmr.ledger import (
    AccessList,
    Borrow,
    Command,
    Consume,
    Free,
    GiveBack,
    Grant,
    Ledger,
    Rule,
    SetAccess,
    StateContainers,
    choose,
    consuming,
    encode,
    granting,
    lending,
    memory,
    promote,
    usage_counters,
    validity,
)
from tmr.ledger import ledger as ledger_module
from tmr.ledger import ledger_state as ledger_state_module
from tmr.ledger.outcomes import Denied

WORDING: tuple[ModuleType, ...] = (
    *(
        ledger_state_module,
        choose,
        consuming,
        granting,
        ledger_module,
        lending,
        usage_counters,
        promote,
        validity,
    ),
)
"""Modules that word refusals."""


class Verbose(Denied, frozen=True, tag="denied"):
    """A refusal in the words of another version."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "detail", f"other words altogether, not: {self.detail}" * 20)


class Silent(Denied, frozen=True, tag="denied"):
    """A refusal without words."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "detail", "")


def commands() -> list[Command | bytes]:
    """Requests that are refused for all reasons that there are, again and again, and some that are not."""
    made: list[Command | bytes] = [StateContainers(statements())]
    for number in range(40):
        who, key = f"client-{number % 5}", f"key-{number}"

        def grant(name: str, who: str = who, key: str = key, number: int = number, **more: Any) -> Grant:
            given = {"station": "cad-07", "user": "anna"} | more
            session = f"{name}-{number}"
            station = given.pop("station")
            return Grant(
                f"{key}-{name}", who, session, FIRM, PRODUCT, (KEY,), "user-limit", 60, station, **given
            )

        made += [
            grant("plain"),
            grant("features", features=2**31),
            grant("waits", wait=True),
            Grant(f"{key}-other", who, f"other-{number}", FIRM, 9, (), "user-limit", 60, "cad-07"),
            Grant(f"{key}-plain", who, f"again-{number}", FIRM, 9, (), "user-limit", 60, "cad-07"),
            Consume(f"{key}-units", who, f"plain-{number}", 10**12),
            Consume(f"{key}-lost", who, "no-session", 1),
            Borrow(f"{key}-b", who, f"b-{number}", FIRM, PRODUCT, (KEY,), 10**9, "0" * 64, "cad-08"),
            Free(f"plain-{number}", "somebody-else", "release"),
            GiveBack(f"b-{number}", "somebody-else", "release"),
            SetAccess(AccessList((Rule("nobody", "deny"),)), number, "operator"),
            SetAccess(AccessList(()), number % 2, "operator"),
            b"no command",
        ]
        if number % 2:
            made.append(Free(f"plain-{number - 1}", f"client-{(number - 1) % 5}", "release"))
    return made


def history(words: type[Denied], patch: pytest.MonkeyPatch) -> tuple[list[object], set[str], set[str]]:
    """Digest and lines after each command; the words that were used, and the reasons."""
    for module in WORDING:
        patch.setattr(module, "Denied", words)
    ledger = Ledger()
    found: list[object] = []
    told, reasons = set[str](), set[str]()
    for index, command in enumerate(commands(), 1):
        body = command if isinstance(command, bytes) else encode(command)
        outcome = ledger.apply(index, 1_000 + 700 * index, body)
        if isinstance(outcome, Denied):
            told.add(outcome.detail)
            reasons.add(outcome.reason)
        found.append((ledger.digest(), list(ledger.lines)))
        if index % 50 == 0:
            state = ledger.snapshot()
            ledger = Ledger()
            ledger.restore(state)
    return found, told, reasons


@pytest.mark.parametrize("words", [Verbose, Silent])
def test_other_words_in_all_refusals_change_no_digest_and_no_line(words: type[Denied]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "MAX_SIZE", 9_000)  # room for outcomes is short, and the words take of it
        usual, told, reasons = history(Denied, patch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "MAX_SIZE", 9_000)
        reworded, others, _ = history(words, patch)
    assert not told & others, "all refusals are worded otherwise"
    assert len(reasons) >= 8
    for index, (one, other) in enumerate(zip(usual, reworded, strict=True), 1):
        assert one == other, f"they differ from entry {index} on"
