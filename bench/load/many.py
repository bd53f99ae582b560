# SPDX-License-Identifier: Apache-2.0
"""Many sessions, or many commands, as fast as it goes: 200 steps in one `POST /v1/batch`."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence

import msgspec

from bench.load.job import Target
from bench.load.licences import JSON, TURNED_AWAY, Action, Refused, Session, tls, wish
from testbed.http import Connection

STEPS = 200
"""Of one batch: the most that the API takes."""
BEATS = 100
"""Sessions in one `POST /v1/heartbeats`."""
PAUSE = 0.1
"""Seconds before steps that were turned away are sent again."""
PATIENCE = 30.0
"""Seconds for which nothing but that may happen: then this twin does not serve any more."""

Step = dict[str, object]


class _Result(msgspec.Struct):
    status: int
    session: Session | None = None


class _Results(msgspec.Struct):
    results: list[_Result]


_results = msgspec.json.Decoder(_Results)


def chunks(count: int, size: int) -> Iterator[range]:
    """0 to `count`, in ranges of `size`; the last may be shorter."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def opening(target: Target, number: int, ttl: int) -> Step:
    """The step that opens session `number`."""
    return {"do": "open", "key": uuid.uuid4().hex, "request": wish(target, number, ttl=ttl)}


def releasing(session: str) -> Step:
    """The step that ends a session."""
    return {"do": "release", "session": session}


async def carry_out(connection: Connection, steps: Sequence[Step]) -> list[str]:
    """Ids of the sessions that the steps opened. What is turned away is sent again. Raises Refused."""
    opened: dict[int, str] = {}
    left, progress = list(range(len(steps))), time.monotonic()
    while left:
        body = msgspec.json.encode({"steps": [steps[number] for number in left]})
        status, answer = await connection.ask("POST", "/v1/batch", body, JSON)
        if status == 200:
            turned_away = []
            for number, result in zip(left, _results.decode(answer).results, strict=True):
                if result.status == TURNED_AWAY:
                    turned_away.append(number)
                elif result.status not in (201, 204):
                    raise Refused("a step", result.status, msgspec.json.encode(result))
                elif result.session is not None:
                    opened[number] = result.session.id
            progress = progress if len(turned_away) == len(left) else time.monotonic()
            left = turned_away
        elif status != TURNED_AWAY:
            raise Refused("a batch", status, answer)
        if time.monotonic() - progress > PATIENCE:
            raise Refused("again and again a batch", status, answer)
        if left:
            await asyncio.sleep(PAUSE)
    return [opened[number] for number in sorted(opened)]


async def connections(target: Target, count: int) -> list[Connection]:
    """So many connections to the target."""
    context = tls(target)
    return [await Connection.open(target.port, context, target.name) for _ in range(count)]


async def opened(lanes: Sequence[Connection], target: Target, count: int, ttl: int) -> list[str]:
    """Open `count` sessions over all connections at once; their ids."""
    work, found = chunks(count, STEPS), list[str]()

    async def lane(connection: Connection) -> None:
        for numbers in work:
            found.extend(await carry_out(connection, [opening(target, number, ttl) for number in numbers]))

    await asyncio.gather(*map(lane, lanes))
    return found


async def churn(lanes: Sequence[Connection], target: Target, commands: int) -> None:
    """Open and release sessions until `commands` were carried out, half of them of each kind."""
    work = chunks(commands // 2, STEPS // 2)

    async def lane(connection: Connection) -> None:
        held = list[str]()
        for numbers in work:
            steps = [*map(releasing, held), *(opening(target, number, 600) for number in numbers)]
            held = await carry_out(connection, steps)
        if held:
            await carry_out(connection, list(map(releasing, held)))

    await asyncio.gather(*map(lane, lanes))


async def seats(target: Target, clients: int, batch: int = 100) -> Sequence[Action]:
    """Each client asks for `batch` seats with one request, and gives them back with the next one."""
    return [
        _seats(lane, target, number, batch) for number, lane in enumerate(await connections(target, clients))
    ]


def _seats(lane: Connection, target: Target, number: int, batch: int) -> Action:
    held: list[str] = []

    async def action() -> None:
        if held:
            await carry_out(lane, [releasing(one) for one in held])
            held.clear()
        else:
            held.extend(await carry_out(lane, [opening(target, number, 600) for _ in range(batch)]))

    return action
