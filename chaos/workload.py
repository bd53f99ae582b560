# SPDX-License-Identifier: Apache-2.0
"""Clients of a campaign and their work, from a seed. Pure; on the client machine, too."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

UNITS: Final = 1_000_000
TTL_S: Final = 10
BORROW_S: Final = 60

SEATS, QUEUE, METER, LOAN, ALONE, STATION = range(6)
"""Products of a campaign, counted from its first Product Code."""


def items(first: int) -> list[dict[str, Any]]:
    """The licences of a campaign, as `tmr vendor issue --items` takes them: few seats, many who want them."""
    return [
        {"product": first + SEATS, "name": "Seats", "quantity": 4},
        {"product": first + QUEUE, "name": "Queue", "quantity": 2},
        {"product": first + METER, "name": "Meter", "quantity": 4, "units": UNITS},
        {"product": first + LOAN, "name": "Loan", "quantity": 3, "borrow": "2d", "borrow-seats": 2},
        {"product": first + ALONE, "name": "Alone", "quantity": 2},
        {"product": first + STATION, "name": "Station", "quantity": 2},
    ]


@dataclass(frozen=True)
class Habit:
    """Task of one client, over and over. `patience`: seconds until it stops asking while nobody answers."""

    name: str
    product: int
    kind: str = "use"
    """use, meter, borrow, read"""
    mode: str = "user-limit"
    station: str = ""
    wait: bool = False
    patience: float = 30.0


@dataclass(frozen=True)
class Job:
    """One use: after so many seconds, for so long. `forgets`: it ends without giving the seat back."""

    pause: float
    hold: float
    units: int
    forgets: bool
    leaves: bool
    """It gives its place in a queue up when the time of `hold` is over."""


def habits() -> tuple[Habit, ...]:
    """All clients of a campaign. Some ask for long, some give up soon, and never learn what became of it."""
    patience = (45.0, 30.0, 4.0)
    found = [Habit(f"seat-{n}", SEATS, patience=patience[n % 3]) for n in range(7)]
    found += [Habit(f"queue-{n}", QUEUE, wait=True, patience=patience[n % 3]) for n in range(5)]
    found += [Habit(f"meter-{n}", METER, "meter", patience=patience[n % 3]) for n in range(5)]
    found += [Habit(f"loan-{n}", LOAN, "borrow", patience=patience[n % 3]) for n in range(3)]
    found += [Habit(f"alone-{n}", ALONE, mode="exclusive") for n in range(2)]
    found += [Habit(f"amid-{n}", ALONE, mode="user-limit") for n in range(3)]
    found += [
        Habit(f"share-{n}", STATION, mode="station-share", station=f"station-{n % 3}") for n in range(6)
    ]
    found += [Habit(f"read-{n}", n, "read", patience=4.0) for n in range(2)]
    return tuple(found)


def jobs(seed: int, habit: Habit) -> Iterator[Job]:
    """Jobs of a client, without end."""
    source = random.Random(f"{seed} {habit.name}")  # noqa: S311 - a workload, no secret
    while True:
        yield Job(
            pause=min(4.0, source.expovariate(1 / 0.8)),
            hold=min(9.0, source.expovariate(1 / 3.0)),
            units=source.randint(1, 9),
            forgets=source.random() < 0.04,
            leaves=source.random() < 0.2,
        )
