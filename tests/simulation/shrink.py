# SPDX-License-Identifier: Apache-2.0
"""Makes a failing run small: fewer faults, a shorter storm, fewer clients; and tells what happened in it.

A run is its seed and its faults. Each machine draws from its own stream, so what is left of the faults
happens much as before. The faults are taken away by delta debugging (Zeller and Hildebrandt, 2002,
"ddmin").
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from tests.simulation.faults import Fault
from tests.simulation.names import CLIENTS
from tests.simulation.rules import Rules
from tests.simulation.run import failure_of, retell
from tests.simulation.world import World

T = TypeVar("T")

RUNS = 600
"""Runs that the search may cost; about half a minute."""
LAST_LINES = 60
"""Of the story, as many lines are told."""


class Small(msgspec.Struct):
    """A run that fails, and nothing that it fails without."""

    seed: int
    failure: str
    faults: list[Fault]
    storm: float
    clients: tuple[str, ...]
    runs: int = 0
    """Runs that it took to find it."""


class _Spent(Exception):
    """The search has cost enough."""


class _Search:
    def __init__(self, seed: int, rules: Rules | None, runs: int) -> None:
        self._rules, self._left, self._runs = rules, runs, runs
        world = World(seed, rules)
        failure = failure_of(world)
        if failure is None:
            raise ValueError(f"seed {seed} does not fail")
        self.best = Small(seed, failure, world.nemesis.made, world.storm, CLIENTS)

    def fails(self, faults: Sequence[Fault], storm: float, clients: Sequence[str]) -> bool:
        """Whether that much is enough to fail, in the same way as the whole run did."""
        if not self._left:
            raise _Spent
        self._left -= 1
        world = World(self.best.seed, self._rules, faults=faults, storm=storm, clients=clients)
        failure = failure_of(world)
        if failure is None or _kind(failure) != _kind(self.best.failure):
            return False
        runs = self._runs - self._left
        self.best = Small(self.best.seed, failure, list(faults), storm, tuple(clients), runs)
        return True

    def run(self) -> Small:
        try:
            while True:
                before = len(self.best.faults), self.best.storm, len(self.best.clients)
                self._shorten()
                ddmin(self.best.clients, lambda some: self.fails(self.best.faults, self.best.storm, some))
                ddmin(self.best.faults, lambda some: self.fails(some, self.best.storm, self.best.clients))
                if before == (len(self.best.faults), self.best.storm, len(self.best.clients)):
                    return self.best
        except _Spent:
            return self.best

    def _shorten(self) -> None:
        """End the storm earlier, as long as that changes nothing: faults after that do not happen."""
        step = self.best.storm / 2
        while step > 0.2:
            if not self.fails(self.best.faults, self.best.storm - step, self.best.clients):
                step /= 2
            step = min(step, self.best.storm / 2)


def ddmin(things: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """A part of `things` that still `fails`, and no longer does without any one of them."""
    left, parts = list(things), 2
    if left and fails([]):
        return []
    while len(left) > 1:
        size = -(-len(left) // parts)
        for start in range(0, len(left), size):
            rest = left[:start] + left[start + size :]
            if fails(rest):
                left, parts = rest, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(left), parts * 2)
    return left


def _kind(failure: str) -> str:
    """What sort of failure: its text without times, names and numbers."""
    text = failure.partition(" s: ")[2] or failure
    return " ".join(word for word in text.split()[:12] if word.isalpha())


def shrink(seed: int, rules: Rules | None = None, runs: int = RUNS) -> Small:
    """The smallest failing run that was found. Raises ValueError if the seed does not fail."""
    return _Search(seed, rules, runs).run()


def story(small: Small, rules: Rules | None = None) -> str:
    """What happened in the small run, for people: its faults, and the last messages before it failed."""
    world, failure = retell(small.seed, rules, small.faults, small.storm, small.clients)
    lines = [
        f"seed {small.seed}: {failure}",
        f"{len(small.faults)} faults are enough, with {len(small.clients)} clients, "
        f"in a storm of {small.storm:.1f} s (found in {small.runs} runs):",
        *(f"  {fault}" for fault in small.faults),
        "the end of it:",
        *(f"  {line[:220]}" for line in (world.story or [])[-LAST_LINES:]),
    ]
    return "\n".join(lines)
