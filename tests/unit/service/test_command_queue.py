# SPDX-License-Identifier: Apache-2.0
"""The queue of commands: it wakes its writer once, and tells each command's fate."""

import asyncio

import pytest

from tmr.ledger import AcceptTime, Freed, Outcome
from tmr.quorum.outputs import NotActive, Overloaded
from tmr.service import command_queue
from tmr.service.command_queue import CommandQueue
from tmr.service.in_flight import Undecided


class Writer:
    """The far end of the queue, with a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.woken = 0
        self.queue = CommandQueue(lambda: self.now, self.wake, 2.0)

    def wake(self) -> None:
        self.woken += 1

    def submit(self) -> asyncio.Future[Outcome]:
        return self.queue.submit(COMMAND)


COMMAND = AcceptTime(1, "operator olga")
OUTCOME: Outcome = Freed("s1", existed=True)


def test_the_writer_is_woken_once_for_all_that_waits() -> None:
    async def story() -> None:
        writer = Writer()
        decisions = [writer.submit(), writer.submit()]
        writer.now = 3.0
        assert (writer.woken, writer.queue.pending, writer.queue.oldest) == (1, 2, 3.0)
        first = writer.queue.in_flight.take(1)
        assert len(first) == 1
        assert writer.queue.pending == 2
        writer.queue.in_flight.turn_away(first, Overloaded())
        writer.queue.in_flight.end_term()
        assert (writer.queue.pending, writer.queue.oldest) == (0, 0.0)
        with pytest.raises(Overloaded):
            await decisions[0]
        with pytest.raises(NotActive):
            await decisions[1]
        writer.submit()
        assert writer.woken == 2

    asyncio.run(story())


def test_a_client_that_waited_too_long_hears_that_it_is_open() -> None:
    async def story() -> None:
        writer = Writer()
        decision = writer.submit()
        heard = writer.queue.answer(decision)
        (submission,) = writer.queue.in_flight.take()
        writer.queue.in_flight.lose_patience(2.0)
        with pytest.raises(Undecided):
            await heard
        assert not decision.done()
        submission.decide(OUTCOME)
        assert await decision == OUTCOME
        assert await writer.queue.answer(decision) == OUTCOME

    asyncio.run(story())


def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        writer = Writer()
        monkeypatch.setattr(command_queue, "BACKLOG", 1)
        writer.submit()
        with pytest.raises(Overloaded):
            await writer.submit()
        assert writer.queue.pending == 1
        assert not await writer.queue.drained(0.0)

    asyncio.run(story())
