# SPDX-License-Identifier: Apache-2.0
"""`python -m bench.load JOB`: JOB is JSON (`Job`), and so is what is printed, until standard input ends."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Sequence

import msgspec

from bench.load import first, licences, many
from bench.load.engine import run, say
from bench.load.job import Churned, Job, Leader, Opened, Ports, Target
from bench.load.licences import Action

MOST_BATCHES = 8


async def _actions(job: Job) -> Sequence[Action]:
    match job:
        case Job("checkout", Target() as target):
            return await licences.pairs(target, job.clients)
        case Job("heartbeat", Target() as target):
            return await licences.heartbeats(target, job.clients, 1)
        case Job("heartbeats", Target() as target):
            return await licences.heartbeats(target, job.clients, 100)
        case Job("batch", Target() as target):
            # More would be turned away: each has a hundred requests under way.
            return await many.seats(target, min(job.clients, MOST_BATCHES))
        case Job("hold", Target() as target):
            return await _held(job, target)
        case Job(("held" | "fresh" | "put") as kind, Leader() as leader):
            from bench.load import etcd  # noqa: PLC0415 - gRPC is needed for this alone

            return await etcd.seats(leader, kind, job.clients)
        case Job("redlock", Ports(ports)):
            from bench.load import redis  # noqa: PLC0415

            return await redis.locks(ports, job.clients)
    raise SystemExit(f"no case {job.case} for {type(job.target).__name__}")


async def _held(job: Job, target: Target) -> Sequence[Action]:
    """Says Churned, then Opened. The actions keep the sessions alive, where there is a rate."""
    lanes = await many.connections(target, job.clients)
    began = time.monotonic()
    await many.churn(lanes, target, job.churn)
    say(Churned(time.monotonic() - began))
    began = time.monotonic()
    sessions = await many.opened(lanes, target, job.sessions, job.ttl)
    say(Opened(len(sessions), time.monotonic() - began))
    batches = [sessions[part.start : part.stop] for part in many.chunks(len(sessions), many.BEATS)]
    return [
        _in_turn([licences.beat(lane, batch) for batch in mine])
        for number, lane in enumerate(lanes)
        if job.rate and (mine := batches[number :: len(lanes)])
    ]


def _in_turn(actions: Sequence[Action]) -> Action:
    each = itertools.cycle(actions)

    async def action() -> None:
        await next(each)()

    return action


async def _run(job: Job) -> None:
    async with asyncio.timeout(job.seconds):
        if job.case == "first":
            await first.first(job)
        else:
            await run(await _actions(job), job)


if __name__ == "__main__":
    asyncio.run(_run(msgspec.json.decode(sys.argv[1], type=Job)))
