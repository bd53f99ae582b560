# SPDX-License-Identifier: Apache-2.0
"""Attempts of the stations to get a licence, from the records of their requests. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from demo.plant.workload import Plant
from testbed.workload.operations import Operation

LEFT = "left-the-queue"


@dataclass
class Attempt:
    """One request for a licence, and what became of it. Times are seconds since the stations began.

    `granted`, `ended`: when the answer was there, and right before the licence was given back: the seat was
    surely taken in between. `queued`: when the first place in a queue was given.
    """

    station: str
    site: str
    address: str
    user: str
    product: int
    mode: str
    asked: float
    answered: float = 0.0
    queued: float | None = None
    granted: float | None = None
    ended: float | None = None
    tmr_id: int = 0
    in_use: int = 0
    """Seats taken, as the server said with the grant."""
    emergency: bool = False
    units: int = 0
    wanted_units: int = 0
    """Units that go with the seat."""
    denied: str = ""
    code: int | None = None
    rule: str = ""
    error: str = ""
    """An error that is no refusal: there must be none."""

    @property
    def held(self) -> bool:
        """True if it was granted."""
        return self.granted is not None

    @property
    def left(self) -> bool:
        """True if the client left the queue: of a seat that it was given at that moment it never heard."""
        return self.denied == LEFT

    @property
    def waited(self) -> float | None:
        """Seconds in the queue; None: it was not in it."""
        return None if self.queued is None else self.answered - self.queued


def attempts(operations: Iterable[Operation], plant: Plant) -> list[Attempt]:
    """All attempts; the operations are in the order in which they were sent."""
    clients = {client.name: client for client in plant.plan.clients}
    sites = {address: site for site, address in plant.sites.items()}
    asked: dict[str, Attempt] = {}
    by_session: dict[str, Attempt] = {}
    for one in operations:
        client = clients[one.client]
        if one.verb in ("checkout", "wait"):
            made = Attempt(
                client.station,
                sites[client.address],
                client.address,
                client.user,
                one.product,
                one.mode,
                one.sent,
            )
            attempt = asked.setdefault(one.key, made)
            _asked(attempt, one)
            by_session[one.session or one.key] = attempt
        else:
            _later(by_session[one.session], one)
    return list(asked.values())


def _asked(attempt: Attempt, one: Operation) -> None:
    attempt.answered, attempt.wanted_units = one.answered or one.sent, one.units
    match one.outcome:
        case "granted":
            attempt.granted, attempt.tmr_id, attempt.in_use = one.answered, one.tmr_id, one.in_use or 0
            attempt.emergency, attempt.units = one.emergency, one.units
        case "waiting" if attempt.queued is None:
            attempt.queued = one.answered
        case "refused":
            attempt.denied, attempt.code, attempt.rule = one.problem, one.code, one.rule
        case "":
            attempt.error = one.problem or "no answer"


def _later(attempt: Attempt, one: Operation) -> None:
    if one.failed or one.answered is None:
        attempt.error = f"{one.verb}: {one.problem or 'no answer'}"
    elif one.verb == "consume":
        attempt.units += one.units
    elif one.verb == "release" and attempt.held:
        attempt.ended = one.sent
    elif one.verb == "release":
        attempt.answered, attempt.denied = one.sent, LEFT
