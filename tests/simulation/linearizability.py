# SPDX-License-Identifier: Apache-2.0
"""Is there an order of the calls that explains every answer? From the callers' records alone.

A history is linearizable if each call can be given one moment between its invocation and its answer such
that the calls, carried out one after the other in the order of these moments, give the answers that were
given (Herlihy and Wing, 1990). A call that was never answered may have happened at any moment after its
invocation, or not at all.

The search is that of Wing and Gong (1993) as Lowe made it quick (2017, "just-in-time linearization"): from
invocation to answer, keep every configuration that is still possible, and carry a call out only when an
answer demands it. Objects that have nothing in common are checked each by itself, which is enough:
linearizability is a local property. Own code, because no maintained library for Python was found: Porcupine
is one for Go, Knossos for Clojure, and neither has states that change by themselves, as a seat does whose
session expires.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

S = TypeVar("S", bound=Hashable)


class Call(msgspec.Struct, frozen=True):
    """One call as its caller saw it. `what`: what was asked and answered, for the model."""

    invoked: float
    answered: float | None
    what: Any


class Model(Protocol[S]):
    """One object, carried out one call at a time."""

    initial: S

    def after(self, state: S, what: Any) -> Iterable[S]:
        """The states after a call that answers as `what` says; none: it cannot answer so in `state`."""

    def by_itself(self, state: S, now: float) -> Iterable[S]:
        """States that `state` may turn into without a call, by the time `now`, in one step."""


class NotLinearizable(Exception):
    """No order of the calls explains the answer to `call`."""

    def __init__(self, call: Call) -> None:
        super().__init__(
            f"nothing explains the answer to {call.what} between {call.invoked:.3f} and {call.answered}"
        )
        self.call = call


def check(model: Model[S], calls: Sequence[Call]) -> None:
    """Raises NotLinearizable."""
    _Search(model, calls).run()


class _Configurations(Generic[S]):
    """Possible configurations: the object's state, and which calls under way were carried out (a bit for
    each).

    Left out are those in which a call that nobody saw answered was carried out for nothing: in the same
    state, who still may carry it out can do all that the other can.
    """

    def __init__(self, unseen: int) -> None:
        self._unseen = unseen
        self._least: dict[tuple[S, int], list[int]] = {}

    def add(self, state: S, done: int) -> bool:
        """Whether it says something new."""
        mask = done & self._unseen
        least = self._least.setdefault((state, done ^ mask), [])
        for known in least:
            if known & mask == known:
                return False
        least[:] = [known for known in least if known & mask != mask]
        least.append(mask)
        return True

    def __iter__(self) -> Iterator[tuple[S, int]]:
        return ((state, done | mask) for (state, done), least in self._least.items() for mask in least)

    def __len__(self) -> int:
        return len(self._least)


class _Search(Generic[S]):
    def __init__(self, model: Model[S], calls: Sequence[Call]) -> None:
        self._model = model
        self._calls = calls
        self._under_way: list[int] = []
        self._unseen = sum(1 << number for number, call in enumerate(calls) if call.answered is None)
        self._possible: _Configurations[S] = _Configurations(self._unseen)
        self._possible.add(model.initial, 0)

    def run(self) -> None:
        moments = [(call.invoked, 0, number) for number, call in enumerate(self._calls)]
        moments += [
            (call.answered, 1, number) for number, call in enumerate(self._calls) if call.answered is not None
        ]
        for now, is_answer, number in sorted(moments):
            if not is_answer:
                self._under_way.append(number)
                continue
            self._possible = self._with(number, now)
            self._under_way.remove(number)
            if not self._possible:
                raise NotLinearizable(self._calls[number])

    def _with(self, wanted: int, now: float) -> _Configurations[S]:
        """The configurations in which `wanted` has been carried out, reached as lazily as can be."""
        bit, model, what = 1 << wanted, self._model, self._calls[wanted].what
        others = [(1 << number, self._calls[number].what) for number in self._under_way if number != wanted]
        found: _Configurations[S] = _Configurations(self._unseen)
        seen: _Configurations[S] = _Configurations(self._unseen)
        todo = []
        for state, done in self._possible:
            if done & bit:
                found.add(state, done ^ bit)
            elif seen.add(state, done):
                todo.append((state, done))
        for state, done in todo:  # it grows: what needs the fewest other calls comes first
            for after in model.after(state, what):
                found.add(after, done)
            for after in model.by_itself(state, now):
                if seen.add(after, done):
                    todo.append((after, done))
            for other, asked in others:
                if not done & other:
                    for after in model.after(state, asked):
                        if seen.add(after, done | other):
                            todo.append((after, done | other))
        return found
