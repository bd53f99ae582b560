# SPDX-License-Identifier: Apache-2.0
"""Runs on the client machine: one client, which asks as an application does, and writes everything down."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from tmr.api.borrowing import Borrowing
from tmr.api.licences import ItemList
from tmr.api.sessions import Consumption, Heartbeat, QueuePlace, Session
from tmr.client import _operations

from .observed import Counting, Observed, blank
from .operations import Journal, Operation
from .plan import Client, Job, Plan, Use

_POLL_S = 0.5
_BEAT_AGAIN_S = 0.25
_STEP_S = 0.7
_END_PATIENCE_S = 30.0
_BORROWED_S = 60
_SURE_PART = 0.9
"""Of a borrowing's time that surely has not passed, by whatever clock."""


class Worker:
    """One client, which does the same over and over."""

    def __init__(self, plan: Plan, client: Client, asking: Counting, journal: Journal) -> None:
        self._plan, self._client, self._over = plan, client, asyncio.Event()
        self._asking = Observed(client.name, asking, journal, client.patience)
        self._station, self._user = client.station or client.name, client.user or client.name
        self._beat_s = client.beat or plan.ttl / 3
        self._waits = True
        self.unqueued = asyncio.Event()
        """It has no place in a queue, and asks for none."""
        self.unqueued.set()

    def leave_queue(self) -> None:
        """Wait for no seat any more, and give a place in a queue back."""
        self._waits = False

    def stop(self) -> None:
        """Begin nothing new."""
        self._over.set()

    async def run(self) -> None:
        """Work until told to stop, and give back what is held."""
        for job in self._plan.jobs(self._client):
            await self._sleep(job.pause)
            if self._over.is_set():
                return
            match job.use.kind:
                case "read":
                    await self._read(job.use.product)
                case "borrow":
                    await self._borrow(job)
                case _:
                    await self._use(job)

    async def _sleep(self, seconds: float) -> None:
        """So long, or until the end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    @property
    def _patience(self) -> float | None:
        return _END_PATIENCE_S if self._over.is_set() else None

    # -- seats -----------------------------------------------------------------------------------------------

    async def _use(self, job: Job) -> None:
        granted = await self._wait(job) if job.use.wait else await self._check_out(job.use)
        if granted is None:
            return
        session, done, lost = granted.session, asyncio.Event(), asyncio.Event()
        alive = asyncio.create_task(self._keep_alive(job.use, session, granted.sent, done, lost))
        end = self._asking.now + job.hold
        while (left := end - self._asking.now) > 0 and not self._over.is_set() and not lost.is_set():
            await self._sleep(min(left, job.use.every or _STEP_S))
            if job.units and not self._over.is_set():
                await self._consume(job, session)
        done.set()
        await alive
        if not lost.is_set() and (self._over.is_set() or not job.forgets):
            await self._release(job.use, session)

    async def _keep_alive(
        self, use: Use, session: str, confirmed: float, done: asyncio.Event, lost: asyncio.Event
    ) -> None:
        """Heartbeats until `done`; `lost` is set when the server says that the session has ended."""
        due = confirmed + self._beat_s
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), max(0.0, due - self._asking.now))
            if done.is_set():
                return
            answer = await self._beat(use, session)
            if answer.outcome == "gone":
                lost.set()
                return
            due = answer.sent + self._beat_s if answer.answered else self._asking.now + _BEAT_AGAIN_S

    def _wanted(self, use: Use, key: str, *, wait: bool) -> _operations.Operation[Session | QueuePlace]:
        request = _operations.session_request(
            firm_code=self._plan.firm,
            product_code=use.product,
            access_mode=use.mode,
            ttl=self._plan.ttl,
            units=use.units,
            station=self._station,
            user=self._user,
            process=f"program-{use.product}",
            wait=wait,
        )
        return _operations.open_session(request, key)

    async def _ask_for_seat(self, use: Use, key: str, *, wait: bool) -> Operation:
        operation = blank("wait" if wait else "checkout", use.product)
        operation.mode, operation.station, operation.units = use.mode, self._station, use.units

        def told(operation: Operation, found: Session | QueuePlace) -> None:
            operation.session, operation.epoch = found.id, found.epoch
            if isinstance(found, QueuePlace):
                operation.outcome, operation.status = "waiting", 202
                return
            operation.outcome, operation.status = "granted", 201
            operation.tmr_id, operation.in_use = found.tmr_id or 0, found.in_use
            operation.quantity, operation.remaining = found.quantity, found.units_remaining
            operation.emergency = found.emergency
            operation.valid_until = operation.sent + found.ttl

        wanted = self._wanted(use, key, wait=wait)
        return await self._asking.ask(operation, wanted, told, patience=self._patience)

    async def _check_out(self, use: Use) -> Operation | None:
        answer = await self._ask_for_seat(use, _key(), wait=False)
        return answer if answer.outcome == "granted" else None

    async def _wait(self, job: Job) -> Operation | None:
        self.unqueued.clear()
        try:
            return await self._queue(job)
        finally:
            self.unqueued.set()

    async def _queue(self, job: Job) -> Operation | None:
        """Wait for a seat; a client that does not want to wait any longer takes its place back."""
        key, place = _key(), ""
        tired = self._asking.now + job.wait
        while self._waits and not self._over.is_set():
            answer = await self._ask_for_seat(job.use, key, wait=True)
            if answer.outcome == "granted":
                return answer
            if answer.outcome != "waiting":  # refused, gone, or given up: the place ends by itself
                return None
            place = answer.session
            if self._asking.now >= tired:
                break
            await self._sleep(_POLL_S)
        if place:
            await self._release(job.use, place)
        return None

    async def _beat(self, use: Use, session: str) -> Operation:
        def told(operation: Operation, found: Heartbeat) -> None:
            operation.outcome, operation.epoch = "alive", found.epoch
            operation.valid_until = operation.sent + found.ttl

        operation = blank("heartbeat", use.product)
        operation.session = session
        wanted = _operations.heartbeat(session)
        return await self._asking.ask(operation, wanted, told, patience=self._client.beat_patience)

    async def _release(self, use: Use, session: str) -> None:
        def told(operation: Operation, _: None) -> None:
            operation.outcome = "freed"

        operation = blank("release", use.product)
        operation.session = session
        await self._asking.ask(operation, _operations.release(session), told, patience=self._patience)

    # -- units, borrowing, looks -----------------------------------------------------------------------------

    async def _consume(self, job: Job, session: str) -> None:
        def told(operation: Operation, found: Consumption) -> None:
            operation.outcome, operation.remaining, operation.epoch = "consumed", found.remaining, found.epoch
            operation.tmr_id = found.tmr_id or 0

        operation = blank("consume", job.use.product)
        operation.session, operation.units = session, job.units
        await self._asking.ask(operation, _operations.consume(session, job.units, _key()), told)

    async def _borrow(self, job: Job) -> None:
        request = _operations.borrow_request(
            firm_code=self._plan.firm,
            product_code=job.use.product,
            seconds=_BORROWED_S,
            station=self._station,
            user=self._user,
        )

        def told(operation: Operation, found: Borrowing) -> None:
            operation.outcome, operation.session = "borrowed", found.id
            operation.tmr_id = found.tmr_id or 0
            operation.valid_until = operation.sent + _SURE_PART * _BORROWED_S

        def returned(operation: Operation, _: None) -> None:
            operation.outcome = "returned"

        operation = blank("borrow", job.use.product)
        operation.station = self._station
        answer = await self._asking.ask(operation, _operations.borrow(request, _key()), told)
        if answer.outcome != "borrowed":
            return
        await self._sleep(job.hold)
        while True:
            back = blank("return", job.use.product)
            back.session, at_the_end = answer.session, self._over.is_set()
            back = await self._asking.ask(
                back, _operations.give_back(answer.session), returned, patience=self._patience
            )
            if back.answered is not None or at_the_end:
                return

    async def _read(self, product: int) -> None:
        """Reads the licences of the whole virtual container."""

        def told(operation: Operation, found: ItemList) -> None:
            operation.outcome = "read"
            for item in found.items:
                if (item.firm_code, item.product_code) == (self._plan.firm, product):
                    operation.in_use, operation.quantity = item.in_use, item.quantity
                    operation.tmr_id, operation.remaining = item.tmr_id or 0, item.units_remaining

        serial = await self._serial()
        if serial:
            await self._asking.ask(blank("read", product), _operations.items(serial), told)

    async def _serial(self) -> str:
        found: list[str] = []

        def told(operation: Operation, containers: object) -> None:
            operation.outcome = "read"
            found.extend(container.serial for container in containers)  # type: ignore[attr-defined]

        await self._asking.ask(blank("read", 0), _operations.containers(), told)
        return found[0] if found else ""


def _key() -> str:
    return _operations.new_key(time.time_ns() // 1_000_000)
