# SPDX-License-Identifier: Apache-2.0
"""Commands in the journal: whatever a twin wrote there, every upstream can carry it out and go on."""

from typing import Final

from tests.unit.ledger.world import FIRM, START_MS, container_key, item, key, stated
from tmr.ledger import (
    AcceptTime,
    AccessList,
    Borrow,
    Command,
    Consume,
    DenialCount,
    Free,
    GiveBack,
    Grant,
    Ledger,
    RecordDenials,
    Rule,
    SetAccess,
    StateContainers,
    SubjectMatch,
    Trust,
    encode,
)
from tmr.licensing import raw_public_key

LICENCE: Final = item(quantity=2, units=10, borrow_s=3600, feature_map=3, usage_s=86_400)
GRANT: Final = Grant(
    "r-1",
    "alice",
    "s-1",
    FIRM,
    1001,
    (key(),),
    "user-limit",
    60,
    "cad-07",
    user="al",
    address="10.0.0.1",
    instance="i",
    features=1,
    units=1,
)
LIST: Final = AccessList(
    (
        Rule(
            "r",
            "limit",
            SubjectMatch(users=("a*",), networks=("10.0.0.0/8",), groups=("g",)),
            1,
            FIRM,
            1001,
            1,
        ),
        Rule("q", "deny", SubjectMatch(hosts=("x?",), certificates=("eve",))),
    ),
    {"g": SubjectMatch(users=("*",))},
)
COMMANDS: Final[list[Command]] = [
    GRANT,
    Grant("r-2", "bob", "s-2", FIRM, 1001, (key(),), "exclusive", 60, "cad-08", wait=True),
    Consume("c-1", "alice", "s-1", 3),
    Borrow("b-1", "alice", "b-1", FIRM, 1001, (key(),), 600, "ab" * 32, "cad-07"),
    SetAccess(LIST, 0, "olga"),
    RecordDenials((DenialCount(FIRM, 1001, "entry-not-found", "", "alice", "cad-07", "al", "", 3),)),
    GiveBack("b-1", None, "operator", "olga"),
    Free("s-1", "alice", "release"),
    StateContainers(stated(2, (LICENCE,))),
    Trust("up2", raw_public_key(container_key(2))),
    AcceptTime(START_MS, "olga"),
]


def _state() -> bytes:
    ledger = Ledger()
    for index, command in enumerate((StateContainers(stated(1, (LICENCE,))), *COMMANDS[:5]), 1):
        ledger.apply(index, START_MS + index, encode(command))
    return ledger.snapshot()


STATE: Final = _state()
"""With a session, a place in the queue, a borrowing, units taken, and access rules."""
SEEDS = [
    *(encode(command) for command in COMMANDS),
    b"".join(len(body).to_bytes(2, "big") + body for body in map(encode, COMMANDS[5:8])),
]


def check(data: bytes) -> None:
    """One body; or several, each behind its length in two bytes."""
    for bodies in ([data], _several(data)):
        ledger = Ledger()
        ledger.restore(STATE)
        for index, body in enumerate(bodies, 20):
            ledger.apply(index, START_MS + index * 1000, body)
            _holds(ledger)
        again = Ledger()
        again.restore(ledger.snapshot())
        assert again.digest() == ledger.digest()
        assert again.snapshot() == ledger.snapshot()


def _several(data: bytes) -> list[bytes]:
    found = list[bytes]()
    while len(data) > 2 and len(found) < 20:
        length = 2 + int.from_bytes(data[:2], "big")
        found.append(data[2:length])
        data = data[length:]
    return found


def _holds(ledger: Ledger) -> None:
    """Nobody but a container's key makes a licence, more seats, or more units."""
    assert set(ledger.licences) <= {key()}
    assert ledger.use(key()).seats <= 2
    assert 0 <= (ledger.remaining(LICENCE) or 0) <= 10
    assert len(ledger.trusted) <= 3
