"""Lines of a licence tracking record for tests: true chains, as the ledger makes them."""

from typing import Any

from tmr.ledger import Chained, Head, Line
from tmr.ledger.record import Event, chain

FIRM = 6_000_010


def lines(count: int, firm: int = FIRM, after: Head | None = None, **values: Any) -> list[Chained]:
    """`count` lines that follow `after`: line n is of certified time 1000 n and of journal entry n."""
    head, made = after or Head(), list[Chained]()
    events: tuple[Event, ...] = ("granted", "released")
    for _ in range(count):
        seq = head.seq + 1
        line = Line(
            firm,
            seq,
            1000 * seq,
            seq,
            events[(seq + 1) % 2],
            201,
            **{"tmr_id": 1, "id": f"s{(seq + 1) // 2}", "client": "alice", "mode": "user-limit", **values},
        )
        made.append(chain(head, line))
        head = head_of(made)
    return made


def head_of(made: list[Chained]) -> Head:
    """Where the chain stands after the last of the lines."""
    return Head(made[-1].seq, made[-1].hash) if made else Head()
