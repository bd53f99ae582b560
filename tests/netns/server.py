# SPDX-License-Identifier: Apache-2.0
"""Stands where tmr-server stands, with its own end of the socket: two twins and one lease between them."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Self

from tests.netns.world import boottime_ns
from tmr.twin.front_comparison import FrontComparison
from tmr.twin.vip_client import VipLink

TTL_S, USABLE_S, TICK_S = 2.0, 1.76, 0.04


class Lease:
    """The lease that two upstreams would give: to one twin at a time, in rising epochs."""

    def __init__(self) -> None:
        self.views: dict[str, int] = {}
        """What each twin said of the front network, as upstreams would tell the other one."""
        self._lock = threading.Lock()
        self.holder = ""
        self.epoch = 0
        self._until = 0.0

    def renew(self, name: str, now: float) -> float | None:
        """Take or renew it: when it ends for its holder; None while it is the other one's."""
        with self._lock:
            if self.holder not in ("", name) and now < self._until:
                return None
            if self.holder != name:
                self.holder, self.epoch = name, self.epoch + 1
            self._until = now + TTL_S
            return now + USABLE_S

    def release(self, name: str) -> None:
        """Give it back: the other twin may take it at once."""
        with self._lock:
            if self.holder == name:
                self.holder = ""


class Server(threading.Thread):
    """One twin: takes the lease when it is free and the address could be held, and gives it back in order."""

    def __init__(self, name: str, path: Path, lease: Lease) -> None:
        super().__init__(daemon=True)
        self.name, self._path, self._lease = name, path, lease
        self._over = threading.Event()
        self.held = False
        self.able = False
        self._front = FrontComparison()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self.join(10)

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._leaving: asyncio.Task[None] | None = None
        self._link = VipLink(
            str(self._path), ttl=TTL_S, clock=now, on_change=self._changed, on_lost=lambda _: self._leave()
        )
        connection = asyncio.create_task(self._link.run())
        while not self._over.is_set():
            self._turn()
            await asyncio.sleep(TICK_S)
        connection.cancel()
        await asyncio.gather(connection, return_exceptions=True)

    def _turn(self) -> None:
        self._link.check(now())
        self.held, self.able = self._link.held, self._link.able
        self._lease.views[self.name] = self._link.front
        if self._lease.holder != self.name and (not self._link.able or self._leaving is not None):
            return
        other = next((view for name, view in self._lease.views.items() if name != self.name), 0)
        if self._lease.holder == self.name and self._front.hand_over(now(), self._link.front, other):
            self._leave()
        deadline = self._lease.renew(self.name, now())
        if deadline is not None and self._leaving is None:
            self._link.hold(self._lease.epoch, deadline, lambda: b"", step=TTL_S / 20)

    def _changed(self, able: bool, _: str) -> None:
        if not able:
            self._leave()

    def _leave(self) -> None:
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._drop())

    async def _drop(self) -> None:
        if self._lease.holder == self.name:
            await self._link.drop(self._lease.epoch)
            self._lease.release(self.name)
            await asyncio.sleep(TTL_S / 4)
        self._leaving = None


class Addresses(threading.Thread):
    """Looks every few milliseconds at which of several machines has the address."""

    def __init__(self, address: str, processes: dict[str, int]) -> None:
        super().__init__(daemon=True)
        self._line = f" {address}\n"
        self._tables = {name: Path(f"/proc/{pid}/net/fib_trie") for name, pid in processes.items()}
        self._over = threading.Event()
        self.looks = 0
        self.holders: frozenset[str] = frozenset()
        self.both: list[int] = []
        """When more than one had it, CLOCK_BOOTTIME ns."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self.join(10)

    def run(self) -> None:
        while not self._over.is_set():
            first = self._look()
            # One machine after the other: what both looks saw was there together.
            self.holders = first & self._look() if len(first) > 1 else first
            if len(self.holders) > 1:
                self.both.append(boottime_ns())
            self.looks += 1
            time.sleep(0.005)

    def _look(self) -> frozenset[str]:
        return frozenset(name for name, table in self._tables.items() if self._line in table.read_text())


def now() -> float:
    """CLOCK_BOOTTIME, seconds."""
    return boottime_ns() / 1e9
