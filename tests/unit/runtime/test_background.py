# SPDX-License-Identifier: Apache-2.0
"""A background task runs alone, is cancelled by a stop, and never fails unseen."""

import asyncio

import pytest

from tmr.runtime.background import Background


def test_a_failure_is_told_and_another_task_can_start() -> None:
    failures: list[BaseException] = []

    async def story() -> None:
        def note(error: BaseException) -> None:
            failures.append(error)
            failed.set()

        background = Background(note)
        done, failed = asyncio.Event(), asyncio.Event()

        async def fails() -> None:
            raise ValueError("broken")

        async def works() -> None:
            done.set()

        background.start(fails())
        assert background.running
        await failed.wait()
        assert not background.running
        background.start(works())
        await done.wait()
        await background.stop()
        assert not background.running

    asyncio.run(story())
    assert [str(error) for error in failures] == ["broken"]


def test_a_stop_cancels_and_waits() -> None:
    failures: list[BaseException] = []
    told: list[str] = []

    async def story() -> None:
        background = Background(failures.append)
        begun = asyncio.Event()

        async def waits() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                told.append("ended")

        background.start(waits())
        await begun.wait()
        await background.stop()
        assert told == ["ended"]
        await background.stop()

    asyncio.run(story())
    assert failures == []


def test_two_at_once_are_a_mistake() -> None:
    async def story() -> None:
        background = Background()

        async def waits() -> None:
            await asyncio.Event().wait()

        background.start(waits())
        second = waits()
        with pytest.raises(AssertionError):
            background.start(second)
        second.close()
        await background.stop()

    asyncio.run(story())
