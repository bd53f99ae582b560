# SPDX-License-Identifier: Apache-2.0
"""The TMR agent's end of the Unix socket to tmr-vip, which alone may touch the virtual address.

Protocol: newline-delimited JSON, one object a line. Without a connection, without an answer, or without a
carrier at the front interface, this twin cannot hold the virtual address and must not be elected.

At most one hold is under way: the next is sent when tmr-vip has answered. So at most one hold waits at a
tmr-vip that stands still, and its deadline is near.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from tmr.runtime.logs import fields
from tmr.twin.front_comparison import NOTHING, UNABLE, UNKNOWN
from tmr.vip.protocol import (
    LINE_LIMIT,
    VERSION,
    CarrierChanged,
    Command,
    CommandRefused,
    Conflict,
    Drop,
    Dropped,
    Front,
    Held,
    Hello,
    Hold,
    Ping,
    Pong,
    decode_report,
    encode,
)

log = logging.getLogger(__name__)

RECONNECT: Final = 0.1
"""Seconds between attempts to connect: tmr-vip is a local service that restarts at once."""
LONGEST_WAIT: Final = 0.1
"""Seconds between two checks that count as waiting: beyond that this process itself stood still."""
KERNEL_LATE: Final = 0.2
"""Seconds by which the kernel may remove an address after its lifetime."""


class VipLink:
    """Keeps the connection. `on_change(able, reason)`: whether this twin could hold the address has changed.

    `on_lost(reason)`: the address of the epoch being held could not be taken or kept. `clock`: CLOCK_BOOTTIME
    in seconds; `ttl`: of the lease, seconds.
    """

    def __init__(
        self,
        path: str,
        *,
        ttl: float,
        clock: Callable[[], float],
        on_change: Callable[[bool, str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._path = path
        self._clock = clock
        self._pause, self._patience, self._longest_unheld = ttl / 4, ttl / 2, ttl
        self._on_change = on_change
        self._on_lost = on_lost
        self._writer: asyncio.StreamWriter | None = None
        self._carrier = False
        self._front = UNKNOWN
        self._reason = "tmr-vip is not connected yet"
        self._epoch: int | None = None
        """Epoch for which the address is wanted."""
        self._sent: float = float("-inf")
        """The deadline that tmr-vip was told last, for this epoch."""
        self._held = False
        self._unheld_since = 0.0
        """Since when the address is wanted and not held."""
        self._asked_at = float("-inf")
        self._checked_at = float("-inf")
        self._waited = 0.0
        """Seconds that the command under way waits, as far as this process was awake to hear an answer."""
        self._under_way = False
        """A command has no answer yet."""
        self._founding = ""
        self._silent = False
        """It had none for too long."""
        self.may_remain_until: float = float("-inf")
        """Until when (CLOCK_BOOTTIME) the address may be up here, by any hold that was ever sent."""
        self._told_epoch = -1
        """Highest epoch in a hold or drop that was sent."""
        self._free = asyncio.Event()
        self._free.set()
        self._conflict = ""

    @property
    def able(self) -> bool:
        """This twin could hold the address: tmr-vip answers and the front interface has a carrier."""
        return self._writer is not None and self._carrier and not self._silent

    @property
    def held(self) -> bool:
        """The address is up here, as tmr-vip said."""
        return self._held

    @property
    def front(self) -> int:
        """View of the front network: see `tmr.twin.front_comparison`."""
        return self._front if self.able else UNABLE

    @property
    def alarms(self) -> list[str]:
        """Sentences for an operator."""
        found = [] if self.able else [f"the virtual address cannot be held here: {self._reason}"]
        if self.able and self._front == NOTHING:
            found.append("nobody is heard on the front network: is its VLAN or a filter wrong?")
        return [*found, self._conflict] if self._conflict else found

    # -- commands ------------------------------------------------------------------------------------------

    def hold(
        self, epoch: int, deadline: float, release: Callable[[], bytes], *, step: float, founding: str = ""
    ) -> None:
        """Hold the address until `deadline` (CLOCK_BOOTTIME, seconds); said again when it moved by `step`.

        `founding`: of the system that the epoch is of.
        """
        if self._writer is None or self._silent:
            return
        if epoch != self._epoch:
            self._epoch, self._held, self._sent, self._conflict = epoch, False, float("-inf"), ""
            self._unheld_since = self._clock()
        elif self._under_way:
            return
        if deadline - self._sent < step:
            return
        self._sent = deadline
        self.may_remain_until = max(self.may_remain_until, deadline + KERNEL_LATE)
        self._told_epoch = max(self._told_epoch, epoch)
        self._free.clear()
        self._founding = founding
        self._write(Hold(epoch, int(deadline * 1_000_000_000), release(), founding))

    async def drop(self, epoch: int) -> None:
        """Give the address up; returns when no hold that was sent can be carried out any more.

        That is when tmr-vip says so, or when a new tmr-vip says hello, or when the last deadline has passed.
        """
        self._drop(epoch)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._free.wait(), max(0.0, self.may_remain_until - self._clock()))
        if not self._free.is_set():
            log.error("tmr-vip did not acknowledge that the address is gone", extra=fields(epoch=epoch))

    def forget(self, epoch: int) -> None:
        """The term has ended: have the address dropped without waiting for it."""
        if not self._free.is_set():
            self._drop(epoch)

    def _drop(self, epoch: int) -> None:
        self._epoch, self._held = None, False
        if self._writer is not None:
            self._told_epoch = max(self._told_epoch, epoch)
            self._write(Drop(epoch, self._founding))

    def check(self, now: float) -> None:
        """Ask for a sign of life where none is due otherwise, and notice that none comes. Call often."""
        since, self._checked_at = min(now - self._checked_at, LONGEST_WAIT), now
        if self._writer is None:
            return
        if self._under_way:
            self._waited += since
            if self._waited > self._patience and not self._silent:
                self._silent = True
                self._changed(f"tmr-vip has not answered for {self._patience:.1f} s: it stands still")
        elif now - self._asked_at > self._pause:
            self._write(Ping())
        if self._epoch is not None and not self._held and now - self._unheld_since > self._longest_unheld:
            self._give_up(f"it could not put it up within {self._longest_unheld:.1f} s")

    def _write(self, command: Command) -> None:
        assert self._writer is not None  # noqa: S101
        if not self._under_way:
            self._under_way, self._asked_at, self._waited = True, self._clock(), 0.0
        self._writer.write(encode(command))

    # -- the connection ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, listen, and connect again, until cancelled."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path, limit=LINE_LIMIT)
            except OSError as error:
                self._reason = f"tmr-vip cannot be reached at {self._path}: {error.strerror or error}"
                await asyncio.sleep(RECONNECT)
                continue
            try:
                reason = await self._listen(reader, writer)
            finally:
                writer.close()
            self._lost(reason)
            await asyncio.sleep(RECONNECT)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Reports, until the connection ends; the reason of its end."""
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                try:
                    report = decode_report(line)
                except msgspec.DecodeError as error:
                    log.warning("tmr-vip said something unknown", extra=fields(error=error))
                    continue
                if isinstance(report, Hello):
                    if report.version != VERSION:
                        return f"tmr-vip speaks version {report.version} of the protocol, not {VERSION}"
                    self._writer, self._carrier = writer, report.carrier
                    self._under_way = self._silent = False
                    self._front = UNKNOWN
                    self._surely_gone()  # it removes what was left behind before it listens
                    self._changed("" if report.carrier else "the front interface has no carrier")
                else:
                    self._heard(report)
        return "the connection to tmr-vip ended"

    def _heard(
        self, report: Held | Dropped | CarrierChanged | Conflict | CommandRefused | Pong | Front
    ) -> None:
        if not isinstance(report, CarrierChanged | Conflict | Front):
            self._answered()
        match report:
            case Held():
                if report.epoch == self._epoch and not self._held:
                    self._held = True
                    log.info("virtual address is up", extra=fields(epoch=report.epoch))
            case Dropped():
                self._was_dropped(report)
            case CarrierChanged():
                self._carrier = report.up
                self._changed("" if report.up else "the front interface lost its carrier")
            case Front():
                self._front = report.view
                log.info("front network", extra=fields(view=report.view))
            case Conflict():
                self._conflict = f"{report.mac} claims the virtual address {report.address} too"
                log.error("address conflict", extra=fields(address=report.address, mac=report.mac))
            case CommandRefused():
                log.warning(
                    "tmr-vip refused a command", extra=fields(epoch=report.epoch, detail=report.detail)
                )
                if report.epoch == self._epoch and self._epoch is not None:
                    if self._held or report.again:
                        self._sent = float("-inf")
                    else:
                        self._give_up(report.detail)

    def _answered(self) -> None:
        self._under_way = False
        if self._silent:
            self._silent = False
            self._changed("" if self._carrier else "the front interface has no carrier")

    def _was_dropped(self, report: Dropped) -> None:
        log.info(
            "virtual address is down",
            extra=fields(epoch=report.epoch, reason=report.reason, detail=report.detail),
        )
        if report.reason == "asked" and report.epoch >= self._told_epoch:
            self._surely_gone()
        if report.epoch != self._epoch:
            return
        self._held, self._unheld_since = False, self._clock()
        if report.reason == "deadline":
            self._sent = float("-inf")  # it may have been extended meanwhile
        else:
            self._give_up(report.detail or report.reason)

    def _surely_gone(self) -> None:
        """No hold that was sent can be carried out any more."""
        self.may_remain_until = float("-inf")
        self._free.set()

    def _give_up(self, detail: str) -> None:
        self._epoch, self._held = None, False
        self._on_lost(f"tmr-vip does not hold the address: {detail}")

    def _changed(self, reason: str) -> None:
        self._reason = reason
        log.info("virtual address manager", extra=fields(able=self.able, reason=reason))
        self._on_change(self.able, reason)

    def _lost(self, reason: str) -> None:
        if self._writer is None:
            self._reason = reason
            return
        self._writer, self._carrier, self._epoch, self._held = None, False, None, False
        self._under_way = self._silent = False
        self._changed(reason)
