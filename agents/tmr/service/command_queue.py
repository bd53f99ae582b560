# SPDX-License-Identifier: Apache-2.0
"""Queue of commands on their way into a journal: the asyncio side of `tmr.service.in_flight`."""

import asyncio
import functools
from collections.abc import Callable
from typing import Final

from tmr.ledger import Command, Outcome, encode
from tmr.quorum.outputs import Overloaded
from tmr.quorum.replication import BACKLOG
from tmr.service.guard import fail
from tmr.service.in_flight import Fate, InFlight, Submission, Undecided

FOREVER: Final = float("inf")


class Decision(asyncio.Future[Outcome]):
    """The fate of a command. Answers to a client follow from it by `CommandQueue.answer`."""

    submission: Submission


class CommandQueue:
    """Takes commands for a journal. `clock`: seconds. `wake()` has what waits written, soon.

    `patience`: seconds after which a client hears `Undecided`. Use in one event loop.
    """

    def __init__(
        self, clock: Callable[[], float], wake: Callable[[], None], patience: float = FOREVER
    ) -> None:
        self.in_flight = InFlight(patience)
        self._clock = clock
        self._wake = wake

    @property
    def pending(self) -> int:
        """Commands that are not committed yet."""
        return len(self.in_flight)

    @property
    def oldest(self) -> float:
        """Seconds that the first of them has waited; 0: there is none."""
        first = next(iter(self.in_flight), None)
        return 0.0 if first is None else self._clock() - first.since

    def submit(self, command: Command) -> asyncio.Future[Outcome]:
        """Queue the command. The future is its fate: done when that is certain, however late.

        It fails with Overloaded (not done) or NotActive (the term ended first).
        """
        decision = Decision(loop=asyncio.get_running_loop())
        if len(self.in_flight) >= BACKLOG:
            fail(decision, Overloaded())
            return decision
        idle = not self.in_flight.waiting
        decision.submission = self.in_flight.add(self._clock(), encode(command))
        decision.submission.then(functools.partial(_settle, decision))
        if idle:
            self._wake()
        return decision

    def answer(self, decision: asyncio.Future[Outcome]) -> asyncio.Future[Outcome]:
        """Future for a client whose command was submitted: its fate, or `Undecided` after the patience."""
        if decision.done():
            return decision
        assert isinstance(decision, Decision)  # noqa: S101
        heard: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.in_flight.listen(self._clock(), decision.submission, functools.partial(_settle, heard))
        return heard

    async def drained(self, patience: float) -> bool:
        """Wait for the commands under way, for at most `patience` seconds; True if none is left."""
        waiting = [asyncio.get_running_loop().create_future() for _ in self.in_flight]
        if not waiting:
            return True
        for future, submission in zip(waiting, self.in_flight, strict=True):
            submission.then(functools.partial(_settle, future))
        _, left = await asyncio.wait(waiting, timeout=patience)
        return not left


def _settle(future: asyncio.Future[Outcome], fate: Fate | Undecided) -> None:
    """Hand a fate, or that it is open, to the task that waits for the future, if one does."""
    if isinstance(fate, Exception):
        fail(future, type(fate)())
    elif not future.done():
        future.set_result(fate)
