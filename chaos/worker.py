# SPDX-License-Identifier: Apache-2.0
"""Runs on the client machine: one client, which asks as an application does, and writes everything down."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import msgspec

from tmr.api.borrowing import Borrowing
from tmr.api.licences import ItemList
from tmr.api.sessions import Consumption, Heartbeat, QueuePlace, Session
from tmr.client import _operations

from .observed import Counting, Journal, Observed, blank
from .records import Operation
from .workload import BORROW_S, TTL_S, Habit, Job, jobs

_POLL_S = 0.5
_BEAT_S = TTL_S / 3
_BEAT_PATIENCE_S = 5.0
_BEAT_AGAIN_S = 0.25
_STEP_S = 0.7
_END_PATIENCE_S = 30.0
_BORROWED_PART = 0.9
"""Of a borrowing's time that surely has not passed, by whatever clock."""


class Setting(msgspec.Struct, frozen=True):
    """Settings of all clients. `began`: CLOCK_BOOTTIME at the campaign's zero."""

    seed: int
    began: float
    firm: int
    first: int


class Worker:
    """One client, which does the same over and over."""

    def __init__(self, setting: Setting, habit: Habit, client: Counting, journal: Journal) -> None:
        self._setting, self._habit, self._over = setting, habit, asyncio.Event()
        self._product = setting.first + habit.product
        self._client = Observed(habit.name, client, journal, habit.patience)
        self._station = habit.station or habit.name

    def stop(self) -> None:
        """Begin nothing new."""
        self._over.set()

    async def run(self) -> None:
        for job in jobs(self._setting.seed, self._habit):
            await self._sleep(job.pause)
            if self._over.is_set():
                return
            match self._habit.kind:
                case "read":
                    await self._read()
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
        granted = await (self._queue(job) if self._habit.wait else self._check_out())
        if granted is None:
            return
        session, done, lost = granted.session, asyncio.Event(), asyncio.Event()
        pulse = asyncio.create_task(self._keep_alive(session, granted.sent, done, lost))
        end = self._client.now + job.hold
        while (left := end - self._client.now) > 0 and not self._over.is_set() and not lost.is_set():
            await self._sleep(min(left, _STEP_S))
            if self._habit.kind == "meter" and not self._over.is_set():
                await self._consume(session, job.units)
        done.set()
        await pulse
        if not lost.is_set() and (self._over.is_set() or not job.forgets):
            await self._release(session)

    async def _keep_alive(
        self, session: str, confirmed: float, done: asyncio.Event, lost: asyncio.Event
    ) -> None:
        """Heartbeats until `done`; `lost` is set when the server says that the session has ended."""
        due = confirmed + _BEAT_S
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), max(0.0, due - self._client.now))
            if done.is_set():
                return
            answer = await self._beat(session)
            if answer.outcome == "gone":
                lost.set()
                return
            due = answer.sent + _BEAT_S if answer.answered else self._client.now + _BEAT_AGAIN_S

    def _wanted(self, key: str, *, wait: bool) -> _operations.Operation[Session | QueuePlace]:
        request = _operations.session_request(
            firm_code=self._setting.firm,
            product_code=self._product,
            access_mode=self._habit.mode,
            ttl=TTL_S,
            station=self._station,
            user=self._habit.name,
            process="chaos",
            wait=wait,
        )
        return _operations.open_session(request, key)

    async def _ask_for_seat(self, key: str, *, wait: bool) -> Operation:
        operation = blank("wait" if self._habit.wait else "checkout", self._product)
        operation.mode, operation.station = self._habit.mode, self._station

        def told(operation: Operation, found: Session | QueuePlace) -> None:
            operation.session, operation.epoch = found.id, found.epoch
            if isinstance(found, QueuePlace):
                operation.outcome, operation.status = "waiting", 202
                return
            operation.outcome, operation.status = "granted", 201
            operation.tmr_id, operation.in_use = found.tmr_id or 0, found.in_use
            operation.quantity, operation.remaining = found.quantity, found.units_remaining
            operation.valid_until = operation.sent + found.ttl

        return await self._client.ask(operation, self._wanted(key, wait=wait), told, patience=self._patience)

    async def _check_out(self) -> Operation | None:
        answer = await self._ask_for_seat(_key(), wait=False)
        return answer if answer.outcome == "granted" else None

    async def _queue(self, job: Job) -> Operation | None:
        """Wait for a seat; who does not want to wait any longer takes the place back."""
        key, place = _key(), ""
        tired = self._client.now + job.hold
        while not self._over.is_set():
            answer = await self._ask_for_seat(key, wait=True)
            if answer.outcome == "granted":
                return answer
            if answer.outcome != "waiting":  # refused, gone, or given up: the place ends by itself
                return None
            place = answer.session
            if job.leaves and self._client.now >= tired:
                break
            await self._sleep(_POLL_S)
        if place:
            await self._release(place)
        return None

    async def _beat(self, session: str) -> Operation:
        def told(operation: Operation, found: Heartbeat) -> None:
            operation.outcome, operation.epoch = "alive", found.epoch
            operation.valid_until = operation.sent + found.ttl

        operation = blank("heartbeat", self._product)
        operation.session = session
        return await self._client.ask(
            operation, _operations.heartbeat(session), told, patience=_BEAT_PATIENCE_S
        )

    async def _release(self, session: str) -> None:
        def told(operation: Operation, _: None) -> None:
            operation.outcome = "freed"

        operation = blank("release", self._product)
        operation.session = session
        await self._client.ask(operation, _operations.release(session), told, patience=self._patience)

    # -- units, borrowing, looks -----------------------------------------------------------------------------

    async def _consume(self, session: str, units: int) -> None:
        def told(operation: Operation, found: Consumption) -> None:
            operation.outcome, operation.remaining, operation.epoch = "consumed", found.remaining, found.epoch
            operation.tmr_id = found.tmr_id or 0

        operation = blank("consume", self._product)
        operation.session, operation.units = session, units
        await self._client.ask(operation, _operations.consume(session, units, _key()), told)

    async def _borrow(self, job: Job) -> None:
        request = _operations.borrow_request(
            firm_code=self._setting.firm,
            product_code=self._product,
            seconds=BORROW_S,
            station=self._station,
            user=self._habit.name,
        )

        def told(operation: Operation, found: Borrowing) -> None:
            operation.outcome, operation.session = "borrowed", found.id
            operation.tmr_id = found.tmr_id or 0
            operation.valid_until = operation.sent + _BORROWED_PART * BORROW_S

        def returned(operation: Operation, _: None) -> None:
            operation.outcome = "returned"

        operation = blank("borrow", self._product)
        operation.station = self._station
        answer = await self._client.ask(operation, _operations.borrow(request, _key()), told)
        if answer.outcome != "borrowed":
            return
        await self._sleep(job.hold)
        while True:
            back = blank("return", self._product)
            back.session, at_the_end = answer.session, self._over.is_set()
            back = await self._client.ask(
                back, _operations.give_back(answer.session), returned, patience=self._patience
            )
            if back.answered is not None or at_the_end:
                return

    async def _read(self) -> None:
        """Reads the licences of the whole virtual container."""

        def told(operation: Operation, found: ItemList) -> None:
            operation.outcome = "read"
            for item in found.items:
                if (item.firm_code, item.product_code) == (self._setting.firm, self._product):
                    operation.in_use, operation.quantity = item.in_use, item.quantity
                    operation.tmr_id, operation.remaining = item.tmr_id or 0, item.units_remaining

        serial = await self._serial()
        if serial:
            await self._client.ask(blank("read", self._product), _operations.items(serial), told)

    async def _serial(self) -> str:
        found: list[str] = []

        def told(operation: Operation, containers: object) -> None:
            operation.outcome = "read"
            found.extend(container.serial for container in containers)  # type: ignore[attr-defined]

        await self._client.ask(blank("read", 0), _operations.containers(), told)
        return found[0] if found else ""


def _key() -> str:
    return _operations.new_key(time.time_ns() // 1_000_000)
