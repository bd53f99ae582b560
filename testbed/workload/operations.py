# SPDX-License-Identifier: Apache-2.0
"""Records of requests: a line of JSON when a request is sent, and once more when its outcome is known."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

Verb = Literal["checkout", "release", "heartbeat", "consume", "borrow", "return", "wait", "read"]


class Operation(msgspec.Struct):
    """One request as its client saw it, all retries with the same idempotency key together.

    Times are seconds since the plan began, on CLOCK_BOOTTIME, which all machines of the lab share. What a
    client did not learn stays None: a request without answer may have been carried out or not.
    """

    client: str
    number: int
    verb: Verb
    product: int
    key: str
    sent: float
    answered: float | None = None
    outcome: str = ""
    """granted, freed, consumed, borrowed, returned, waiting, alive, gone, read, refused; "" unanswered."""
    status: int | None = None
    """HTTP status of the last answer."""
    problem: str = ""
    """Slug of the problem document where it was refused, for instance no-more-licences."""
    tries: int = 1
    session: str = ""
    """Session or borrowing that was granted or meant."""
    tmr_id: int = 0
    units: int = 0
    """Units asked for, by `consume` or with a seat."""
    remaining: int | None = None
    """Units that were left, as answered."""
    in_use: int | None = None
    quantity: int | None = None
    epoch: int | None = None
    valid_until: float | None = None
    """Until when the client believes that it may use the session: with a grant or a heartbeat."""
    given_up: float | None = None
    """Time at which it stopped asking, unanswered; `status` and `problem` then say what it was told last."""
    mode: str = ""
    """Access mode of a request for a seat."""
    station: str = ""
    """Station of a request for a seat."""
    emergency: bool = False
    """The seat is of an emergency licence."""
    code: int | None = None
    """CodeMeter's code of the refusal."""
    rule: str = ""
    """Access rule that refused it."""

    @property
    def failed(self) -> bool:
        """The client was told of an error, or gave up."""
        return self.given_up is not None or self.outcome in ("gone", "refused")


class Journal:
    """The file of operations. A crash loses no request that was sent."""

    def __init__(self, path: Path, began: float) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._began = began

    def now(self) -> float:
        """Seconds since the plan began."""
        return round(time.clock_gettime(time.CLOCK_BOOTTIME) - self._began, 6)

    def write(self, operation: Operation) -> None:
        os.write(self._file, msgspec.json.encode(operation) + b"\n")


def settled(lines: Iterable[str | bytes]) -> list[Operation]:
    """Of each request the last line that its client wrote, in the order in which they were sent.

    A line that is still being written is left out: the caller gives whole ones, or the last may be cut.
    """
    last: dict[tuple[str, int], Operation] = {}
    decoder = msgspec.json.Decoder(Operation)
    for line in lines:
        if line[-1:] in ("\n", b"\n"):
            operation = decoder.decode(line)
            last[operation.client, operation.number] = operation
    return sorted(last.values(), key=lambda one: one.sent)
