# SPDX-License-Identifier: Apache-2.0
"""Fair shares of the event loop, and bounds of one client."""

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from tmr.http import fair_share
from tmr.http.fair_share import MANY, TURN_COST, Client, FairShare
from tmr.http.load_limits import Priority
from tmr.net.problem import ProblemError
from tmr.runtime.turns import give_way

FLOOD, NEIGHBOUR = Client("flood", "10.0.0.1"), Client("neighbour", "10.0.0.2")
FIRST, NEW = Priority.CRITICAL, Priority.NEW


async def turning(condition: Callable[[], object], what: str) -> None:
    """Let the event loop turn until `condition()` holds, and no longer."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError(f"waited in vain: {what}")


class Story:
    """Requests that note when their turn came; `turn` is noted for each turn of the event loop."""

    def __init__(self) -> None:
        self.limited = Counter[str]()
        self.share = FairShare(lambda reason: self.limited.update([reason]))
        self.seen = list[str]()
        self._watched = True

    async def request(self, client: Client, priority: Priority = FIRST, size: int = 0) -> None:
        await self.share.turn(client, priority, size)
        self.seen.append(client.account)

    def watch(self) -> None:
        if self._watched:
            self.seen.append("turn")
            asyncio.get_running_loop().call_soon(self.watch)

    def done(self) -> list[str]:
        self._watched = False
        return [one for one in self.seen if one != "turn"]


def test_a_few_pass_at_once() -> None:
    async def run() -> None:
        story = Story()
        for _ in range(int(TURN_COST)):
            await story.request(NEIGHBOUR)
        story.watch()
        assert "turn" not in story.seen[:-1]
        story.done()

    asyncio.run(run())


def test_a_crowd_is_not_worked_on_in_one_turn_of_the_loop() -> None:
    """Between any few of them everything else has its turn, and those of one client keep their order."""

    async def run() -> None:
        story = Story()
        story.watch()
        await asyncio.gather(*(story.request(FLOOD) for _ in range(30)))
        assert len(story.done()) == 30
        turns = [number for number, one in enumerate(story.seen) if one == "turn"]
        assert all(latter - former - 1 <= TURN_COST for former, latter in pairwise(turns[1:]))

    asyncio.run(run())


@pytest.mark.parametrize("priority", Priority)
def test_a_neighbour_does_not_stand_in_line_behind_a_flood(priority: Priority) -> None:
    async def run() -> None:
        story = Story()
        flood = [asyncio.create_task(story.request(FLOOD, FIRST, 36_000)) for _ in range(400)]
        await turning(lambda: len(story.seen) > 10, "the flood is being served")
        before = len(story.done())
        await story.request(NEIGHBOUR, priority)
        assert len(story.done()) - before <= 4
        assert len(story.done()) < 100, "most of the flood waits"
        await asyncio.gather(*flood)

    asyncio.run(run())


def test_what_is_urgent_comes_before_ones_own_other_requests() -> None:
    async def run() -> None:
        story = Story()
        lists = [asyncio.create_task(story.request(NEIGHBOUR, Priority.READ_ONLY)) for _ in range(50)]
        await turning(lambda: story.seen, "they are being served")
        before = len(story.done())
        await story.request(NEIGHBOUR, FIRST)
        assert len(story.done()) - before <= 3
        await asyncio.gather(*lists)

    asyncio.run(run())


def test_a_long_request_gives_way_within() -> None:
    async def run() -> None:
        story = Story()

        async def long() -> None:
            await story.request(FLOOD)
            for _ in range(100):
                await give_way()
                story.seen.append("part")

        tasks = [asyncio.create_task(long()) for _ in range(10)]
        await turning(lambda: "part" in story.seen, "they are being worked on")
        before = len(story.seen)
        await story.request(NEIGHBOUR)
        assert len(story.seen) - before <= 4
        await asyncio.gather(*tasks)
        await give_way()  # outside of a request: a turn of the loop

    asyncio.run(run())


def test_one_client_has_so_many_requests_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_share, "OF_CLIENT_MAX", 3)

    async def run() -> None:
        story = Story()
        for _ in range(3):
            await story.share.enter(FLOOD)
        with pytest.raises(ProblemError, match="3 requests of flood wait or are in work") as caught:
            await story.share.enter(Client("flood", "10.0.0.9"))
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "2"})
        await story.share.enter(NEIGHBOUR)
        story.share.leave(FLOOD)
        await story.share.enter(FLOOD)
        assert story.limited == {"requests": 1}

    asyncio.run(run())


def test_one_client_has_so_many_slow_bodies_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_share, "SLOW_OF_CLIENT_MAX", 2)

    async def run() -> None:
        story = Story()
        for _ in range(2):
            await story.share.slowly(FLOOD)
        with pytest.raises(ProblemError, match="The bodies of 2 requests of flood are slow"):
            await story.share.slowly(FLOOD)
        await story.share.slowly(NEIGHBOUR)
        story.share.arrived(FLOOD)
        await story.share.slowly(FLOOD)
        assert story.limited == {"slow-body": 1}

    asyncio.run(run())


@pytest.mark.parametrize("requests", [MANY, MANY + 1])
def test_who_has_few_requests_is_never_refused_for_waiting(
    monkeypatch: pytest.MonkeyPatch, requests: int
) -> None:
    monkeypatch.setattr(fair_share, "WAIT_MAX", -1.0)

    async def run() -> None:
        story = Story()
        for _ in range(requests):
            await story.share.enter(FLOOD)
        came = await asyncio.gather(*(story.request(FLOOD) for _ in range(requests)), return_exceptions=True)
        refused = [one for one in came if isinstance(one, ProblemError)]
        assert bool(refused) is (requests > MANY)
        assert story.limited["waited"] == len(refused)

    asyncio.run(run())


def test_who_goes_away_while_waiting_takes_no_turn() -> None:
    async def run() -> None:
        story = Story()
        tasks = [asyncio.create_task(story.request(FLOOD, FIRST, 36_000)) for _ in range(50)]
        await turning(lambda: story.seen, "they are being served")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await story.request(NEIGHBOUR)
        assert story.done()[-1] == "neighbour"
        await turning(lambda: not len(story.share.turns), "nothing is left of them")

    asyncio.run(run())
