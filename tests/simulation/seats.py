# SPDX-License-Identifier: Apache-2.0
"""Calls of the clients to seats and to units, as two objects that have nothing in common.

Only the clients' own records are used: what they asked, what they were answered, and when their heartbeats
were answered. A session may end by itself once its client was not heard for a time to live. That no seat
was free is not noted in the journal: a copy of the request that comes later may still get one, which nobody
uses, and which expires.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .linearizability import Call, check

if TYPE_CHECKING:
    from .client import Operation, SimClient

FOR_EVER = float("inf")


class Take(NamedTuple):
    """A seat is taken; `seat` is a bit of its own."""

    seat: int


class Give(NamedTuple):
    """A seat is given back, or was before."""

    seat: int


class Count(NamedTuple):
    """So many seats are taken."""

    seats: int


class Seats:
    """State: the seats that are taken, as bits. `ends`: seat → when it may end by itself, at the earliest."""

    initial = 0

    def __init__(self, quantity: int, ends: dict[int, float]) -> None:
        self._quantity = quantity
        self._ends = ends

    def after(self, state: int, what: Take | Give | Count) -> Iterable[int]:
        """See `Model`."""
        match what:
            case Take(seat):
                return (state | seat,) if state.bit_count() < self._quantity else ()
            case Give(seat):
                return (state & ~seat,)
            case Count(seats):
                return (state,) if state.bit_count() == seats else ()

    def by_itself(self, state: int, now: float) -> Iterable[int]:
        """See `Model`."""
        rest = state
        while rest:
            seat = rest & -rest
            rest ^= seat
            if self._ends.get(seat, FOR_EVER) <= now:
                yield state ^ seat


class Spent(NamedTuple):
    """A unit was taken, and so many remain; None: that was not answered."""

    remaining: int | None


class Units:
    """State: the units that remain."""

    def __init__(self, units: int) -> None:
        self.initial = units

    def after(self, state: int, what: Spent) -> Iterable[int]:
        """See `Model`."""
        return (state - 1,) if what.remaining in (None, state - 1) else ()

    def by_itself(self, state: int, now: float) -> Iterable[int]:
        """Nothing takes units but a call."""
        return ()


def check_clients(clients: Iterable[SimClient], quantity: int, units: int, ttl: float) -> tuple[int, int]:
    """Raises NotLinearizable. The numbers of calls on seats and on units that were checked."""
    clients = list(clients)
    seats = _Calls(quantity, ttl)
    for client in clients:
        seats.add(client.history, client.heard)
    check(Seats(quantity, seats.ends), seats.calls)
    spent = [call for client in clients for call in units_of(client.history)]
    check(Units(units), spent)
    return len(seats.calls), len(spent)


def units_of(history: Sequence[Operation]) -> Iterable[Call]:
    """The calls that took units, or may have."""
    for operation in history:
        if operation.verb == "units":
            answer = operation.answer
            if answer is None:
                yield Call(operation.invoked, None, Spent(None))
            elif answer.what == "consumed":
                yield Call(operation.invoked, operation.answered, Spent(answer.remaining))


class _Calls:
    """Collects what happened to the seats."""

    def __init__(self, quantity: int, ttl: float) -> None:
        self._full = Count(quantity)
        self.calls: list[Call] = []
        self.ends: dict[int, float] = {}
        self._ttl = ttl
        self._next = 1

    def add(self, history: Sequence[Operation], heard: dict[str, float]) -> None:
        """One client's records."""
        asked: dict[str, tuple[int, float]] = {}
        """Requests for a seat that have not got one yet: key → seat, first asked."""
        seats: dict[str, int] = {}
        """Sessions and borrowings that were granted → seat."""
        for one in history:
            if one.verb in ("checkout", "wait", "borrow"):
                if one.key not in asked:
                    asked[one.key] = self._new(), one.invoked
                seat, since = asked[one.key]
                if one.verb != "borrow":
                    self.ends.setdefault(seat, since + self._ttl)
                if one.answer is None or one.answered is None:
                    continue
                if one.answer.what in ("granted", "borrowed"):
                    del asked[one.key]
                    session = one.answer.session
                    seats[session] = seat
                    self.calls.append(Call(since, one.answered, Take(seat)))
                    if one.verb != "borrow":
                        self.ends[seat] = max(one.sent, heard.get(session, 0.0)) + self._ttl
                elif one.answer.what == "waiting":
                    self.calls.append(Call(one.invoked, one.answered, self._full))
                elif one.answer.what == "no-more-licences":
                    del asked[one.key]
                    self.calls.append(Call(since, one.answered, self._full))
                    if len(one.landed) > 1:
                        asked[one.key] = seat, one.landed[1]
            elif one.verb in ("release", "return"):
                known = seats.get(one.key)
                if known is not None:
                    self.calls.append(Call(one.invoked, one.answered, Give(known)))
            elif one.verb == "read" and one.answer is not None:
                self.calls.append(Call(one.invoked, one.answered, Count(one.answer.in_use)))
        # Nobody knows whether these get a seat: it may come at any time, and go again unseen.
        self.calls += [Call(since, None, Take(seat)) for seat, since in asked.values()]

    def _new(self) -> int:
        seat, self._next = self._next, self._next << 1
        return seat
