# SPDX-License-Identifier: Apache-2.0
"""Runs on the client machine: 200 stations in one event loop, on the public async client.

    python -m plant.stations RESULTS

The plan is stations.toml beside this file. RESULTS gets one JSON line for each request for a licence. Ends
with 0 whatever the stations were told: that is in the results.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from tmr.client import AsyncClient, AsyncClientSession, Refused, TmrError, load

from . import records, workload
from .records import Attempt
from .workload import Job, Plan, Station


class Lane:
    """One of the programs that a station runs at once."""

    def __init__(self, plan: Plan, station: Station, client: AsyncClient, began: float) -> None:
        self._plan, self._station, self._client, self._began = plan, station, client, began
        self.attempts: list[Attempt] = []

    def _now(self) -> float:
        return time.monotonic() - self._began

    async def run(self, number: int) -> None:
        """Work until the minute is over."""
        for job in self._plan.jobs(self._station, number):
            if self._now() + job.pause >= self._plan.seconds:
                return
            await asyncio.sleep(job.pause)
            await self._use(job)

    async def _use(self, job: Job) -> None:
        station, program = self._station, job.program
        attempt = Attempt(
            station.name,
            station.site,
            self._plan.sites[station.site],
            station.user,
            program.product,
            program.mode,
            self._now(),
        )
        self.attempts.append(attempt)
        session = self._client.session(
            self._plan.firm,
            program.product,
            access_mode=program.mode,
            ttl=self._plan.ttl,
            units=program.units,
            wait=min(program.wait, max(0.0, self._plan.seconds - self._now())),
            station=station.name,
            user=station.user,
            process=f"program-{program.product}",
            on_wait=lambda _: self._queued(attempt),
        )
        try:
            async with session:
                attempt.granted = attempt.answered = self._now()
                granted = session.licence
                attempt.tmr_id, attempt.quantity = granted.tmr_id or 0, granted.quantity or 0
                attempt.in_use, attempt.emergency, attempt.epoch = (
                    granted.in_use,
                    granted.emergency,
                    granted.epoch,
                )
                attempt.units = program.units
                await self._work(session, job, attempt)
                session.check()
                attempt.ended = self._now()
        except Refused as refused:
            attempt.answered = self._now()
            attempt.denied, attempt.code = refused.problem.slug, refused.problem.code
            attempt.rule = refused.problem.rule
        except TmrError as error:
            attempt.error = f"{type(error).__name__}: {error}"
        if attempt.granted is not None and attempt.ended is None:
            attempt.error = attempt.error or f"refused while at work: {attempt.denied}"
            attempt.ended = self._now()

    def _queued(self, attempt: Attempt) -> None:
        if attempt.queued is None:
            attempt.queued = self._now()

    async def _work(self, session: AsyncClientSession, job: Job, attempt: Attempt) -> None:
        """Hold the licence, and take units now and then; not beyond the end of the minute."""
        end = min(self._plan.seconds, self._now() + job.hold)
        program = job.program
        while (left := end - self._now()) > 0:
            await asyncio.sleep(min(left, program.every or left))
            if program.more_units:
                await session.consume(program.more_units)
                attempt.units += program.more_units


async def _work(plan: Plan) -> list[Attempt]:
    """All stations; each site asks from its own address."""
    config = load()
    async with AsyncExitStack() as stack:
        clients = {
            site: await stack.enter_async_context(
                AsyncClient(type(config).model_validate({**config.model_dump(), "source": address}))
            )
            for site, address in plan.sites.items()
        }
        began = time.monotonic()
        lanes = [
            (Lane(plan, station, clients[station.site], began), number)
            for station in plan.stations
            for number in range(plan.programs_at_once)
        ]
        await asyncio.gather(*(lane.run(number) for lane, number in lanes))
    return [attempt for lane, _ in lanes for attempt in lane.attempts]


def main() -> None:
    plan = workload.read(Path(__file__).with_name("stations.toml").read_text())
    attempts = asyncio.run(_work(plan))
    Path(sys.argv[1]).write_text(records.write(attempts))


if __name__ == "__main__":
    main()
