# SPDX-License-Identifier: Apache-2.0
"""Turns of the event loop."""

import asyncio

from tmr.runtime.turns import Turns


def test_what_costs_much_takes_several_turns() -> None:
    """In those that follow, nothing else is begun."""

    async def story() -> list[str]:
        turns, seen = Turns(3.0), list[str]()

        async def one(name: str, cost: float) -> None:
            await turns.passed(["flow"], cost)
            seen.append(name)

        tasks = [asyncio.create_task(one("large", 9.0)) for _ in range(2)]
        tasks.append(asyncio.create_task(one("small", 1.0)))
        while not all(task.done() for task in tasks):
            seen.append("turn")
            await asyncio.sleep(0)
        assert not len(turns)
        return seen

    seen = asyncio.run(story())
    large, other = (number for number, name in enumerate(seen) if name == "large")
    assert seen[large:other].count("turn") >= 3
    assert seen[other : seen.index("small")].count("turn") >= 3


def test_nobody_overtakes_those_whose_turn_has_come() -> None:
    async def story() -> list[int]:
        turns, seen = Turns(2.0), list[int]()

        async def one(number: int) -> None:
            await turns.passed(["flow"])
            seen.append(number)

        tasks = []
        for number in range(50):
            tasks.append(asyncio.create_task(one(number)))
            if number % 3 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return seen

    assert asyncio.run(story()) == list(range(50))


def test_what_had_nothing_to_do_takes_nothing_of_a_turn() -> None:
    async def story() -> None:
        turns, begun = Turns(1.0), list[int]()
        tasks = [asyncio.create_task(turns.passed(["flow"], 5.0)) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        def last() -> bool:
            begun.append(1)
            return True

        turns.call(["flow"], last)
        for _ in range(8):
            await asyncio.sleep(0)
        assert begun, "not behind those that have gone"

    asyncio.run(story())
