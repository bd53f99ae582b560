# SPDX-License-Identifier: Apache-2.0
"""From what the stations wrote down to figures, and to what must be true of them. Pure.

The access rules are judged by a reading of the file of its own, not by that of the server.
"""

from __future__ import annotations

import fnmatch
import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from demo.plant.records import Attempt

Licence = tuple[int, int]
"""Product Code and TMR-Id."""
Access = Mapping[str, Any]
"""An access list, as its file has it."""


@dataclass(frozen=True)
class Figures:
    """Requests for one product. `use`: part of all seat-seconds, 0 to 1; `waits`: seconds in the queue."""

    product: int
    seats: int
    asked: int
    granted: int
    peak: int
    use: float
    no_seat: int
    by_rule: int
    waits: tuple[float, ...]
    emergencies: int
    units: int
    left: tuple[int, ...] = ()
    """Units wanted by each client that left the queue: it may have been given a seat at that moment."""


@dataclass(frozen=True)
class Denial:
    """Equal refusals. `code`: CodeMeter's."""

    product: int
    problem: str
    code: int | None
    rule: str
    count: int


def figures(attempts: Iterable[Attempt], seats: Mapping[Licence, int], seconds: float) -> list[Figures]:
    """Each product, by Product Code. `seats`: of each licence."""
    attempts = tuple(attempts)
    found = []
    for product in sorted({product for product, _ in seats}):
        own = [attempt for attempt in attempts if attempt.product == product]
        held = [attempt for attempt in own if attempt.held]
        quantity = sum(number for (code, _), number in seats.items() if code == product)
        denied = [attempt for attempt in own if attempt.denied]
        found.append(
            Figures(
                product=product,
                seats=quantity,
                asked=len(own),
                granted=len(held),
                peak=peak(held),
                use=_seat_seconds(held) / (quantity * seconds),
                no_seat=sum(not attempt.rule for attempt in denied),
                by_rule=sum(bool(attempt.rule) for attempt in denied),
                waits=tuple(wait for attempt in own if (wait := attempt.waited) is not None),
                emergencies=sum(attempt.emergency for attempt in held),
                units=sum(attempt.units for attempt in held),
                left=tuple(attempt.wanted_units for attempt in own if attempt.left),
            )
        )
    return found


def denials(attempts: Iterable[Attempt]) -> list[Denial]:
    """By product, the most frequent first."""
    counted = Counter((a.product, a.denied, a.code, a.rule) for a in attempts if a.denied)
    found = [Denial(*what, count) for what, count in counted.items()]
    return sorted(found, key=lambda denial: (denial.product, -denial.count, denial.rule))


def peak(held: Iterable[Attempt]) -> int:
    """Most seats that were surely taken at one moment."""
    return max(accumulate((by for _, by in _changes(held)), initial=0))


def _seat_seconds(held: Iterable[Attempt]) -> float:
    changes = _changes(held)
    taken = accumulate(by for _, by in changes)
    return sum(
        seats * (then - now) for seats, ((now, _), (then, _)) in zip(taken, pairwise(changes), strict=False)
    )


def _changes(held: Iterable[Attempt]) -> list[tuple[float, int]]:
    """Takings and returns of seats in order; of two at one moment the return comes first."""
    ends = [(moment, by, one) for one in held for moment, by in ((one.granted, 1), (one.ended, -1))]
    sharing: Counter[tuple[int, str]] = Counter()
    found = []
    for moment, by, one in sorted(ends, key=lambda end: (end[0] or 0.0, end[1])):
        if one.mode == "station-share":
            station = (one.tmr_id, one.station)
            before = sharing[station] > 0
            sharing[station] += by
            found.append((moment or 0.0, (sharing[station] > 0) - before))
        else:
            found.append((moment or 0.0, by))
    return found


# -- what must be true -------------------------------------------------------------------------------------


def overfull(attempts: Iterable[Attempt], seats: Mapping[Licence, int]) -> list[str]:
    """Licences of which too many seats were in use: by the stations' times, or by the server's count."""
    attempts = tuple(attempts)
    found = []
    for (product, tmr_id), quantity in seats.items():
        held = [a for a in attempts if (a.product, a.tmr_id) == (product, tmr_id) and a.held]
        most = max([peak(held), *(attempt.in_use for attempt in held)])
        if most > quantity:
            found.append(f"{most} of {quantity} seats of {product} #{tmr_id}")
    return found


def against_rules(attempts: Iterable[Attempt], access: Access, seats: Mapping[Licence, int]) -> list[str]:
    """Users admitted against the access rules, and users refused for a rule that is not about them."""
    attempts = tuple(attempts)
    found = []
    for rule in access["rules"]:
        about = [attempt for attempt in attempts if attempt.product == rule["product_code"]]
        matching = {id(attempt) for attempt in about if _matches(attempt, rule["who"], access)}
        inside = [attempt for attempt in about if id(attempt) in matching]
        outside = [attempt for attempt in about if id(attempt) not in matching]
        effect, name = rule["effect"], rule["name"]
        admitted, refused = {
            "deny": (inside, outside),
            "allow": (outside, inside),
            "limit": ([], outside),
            "reserve": ([], inside),
        }[effect]
        found += [f"{a.user}@{a.station} got {a.product} against {name!r}" for a in admitted if a.held]
        found += [f"{name!r} refused {a.user}@{a.station}" for a in refused if a.rule == name]
        for licence in {(a.product, a.tmr_id) for a in about if a.held}:
            limited = inside if effect == "limit" else outside
            held = [a for a in limited if a.held and a.tmr_id == licence[1]]
            most = {"limit": rule.get("seats"), "reserve": seats[licence] - rule.get("seats", 0)}.get(effect)
            if most is not None and peak(held) > most:
                found.append(
                    f"{name!r} admitted {peak(held)} instead of {most} to {licence[0]} #{licence[1]}"
                )
    return found


def _matches(attempt: Attempt, who: Mapping[str, Sequence[str]], access: Access) -> bool:
    """Each list that is given must match; a group by any one of its entries."""
    return all(
        any(
            any(
                _entry(attempt, kind, each)
                for kind, members in access["groups"][entry].items()
                for each in members
            )
            if what == "groups"
            else _entry(attempt, what, entry)
            for entry in entries
        )
        for what, entries in who.items()
    )


def _entry(attempt: Attempt, what: str, entry: str) -> bool:
    match what:
        case "users":
            return fnmatch.fnmatchcase(attempt.user, entry)
        case "hosts":
            return fnmatch.fnmatchcase(attempt.station, entry)
        case "networks":
            return ipaddress.ip_address(attempt.address) in ipaddress.ip_network(entry)
    raise ValueError(f"no rule of the plant is about {what}")
