# SPDX-License-Identifier: Apache-2.0
"""Licences and clients of a campaign. Pure."""

from __future__ import annotations

from typing import Any, Final

from testbed.workload.plan import FOREVER, Client, Use

UNITS: Final = 1_000_000
TTL_S: Final = 10
PATIENCE_S: Final = (45.0, 30.0, 4.0)
"""Some clients ask for long; some give up soon, and never learn what became of their requests."""

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


def clients(first: int) -> tuple[Client, ...]:
    """All clients of a campaign."""
    kinds = (
        ("seat", 7, Use(first + SEATS, forgets=0.04)),
        ("queue", 5, Use(first + QUEUE, wait=FOREVER, leaves=0.2, forgets=0.04)),
        ("meter", 5, Use(first + METER, more_units=(1, 9), every=0.7, forgets=0.04)),
        ("loan", 3, Use(first + LOAN, "borrow")),
        ("alone", 2, Use(first + ALONE, mode="exclusive", forgets=0.04)),
        ("amid", 3, Use(first + ALONE, forgets=0.04)),
        ("share", 6, Use(first + STATION, mode="station-share", forgets=0.04)),
    )
    found = [
        Client(
            f"{name}-{number}",
            ((use, 1),),
            station=f"station-{number % 3}" if use.mode == "station-share" else "",
            patience=PATIENCE_S[number % 3],
        )
        for name, count, use in kinds
        for number in range(count)
    ]
    found += [Client(f"read-{n}", ((Use(first + n, "read"), 1),), patience=4.0) for n in range(2)]
    return tuple(found)
