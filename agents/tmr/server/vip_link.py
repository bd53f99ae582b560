"""The TMR agent's end of the Unix socket to tmr-vip, which alone may touch the virtual address.

Protocol: newline-delimited JSON, one object a line. Without a connection, or without a carrier at the front
interface, this twin cannot hold the virtual address and must not be elected.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from tmr.rim.logs import fields

log = logging.getLogger(__name__)

RECONNECT: Final = 0.1
"""Seconds between attempts to connect: tmr-vip is a local service that restarts at once."""
LINE_LIMIT: Final = 64 * 1024
VERSION: Final = 1


class Hold(msgspec.Struct, frozen=True, tag_field="op", tag="hold"):
    epoch: int
    deadline_ns: int
    will: bytes


class Drop(msgspec.Struct, frozen=True, tag_field="op", tag="drop"):
    epoch: int


class Hello(msgspec.Struct, frozen=True, tag_field="event", tag="hello"):
    version: int
    carrier: bool


class Held(msgspec.Struct, frozen=True, tag_field="event", tag="held"):
    epoch: int


class Dropped(msgspec.Struct, frozen=True, tag_field="event", tag="dropped"):
    epoch: int
    reason: Literal["asked", "deadline", "carrier", "error"]
    detail: str = ""


class Carrier(msgspec.Struct, frozen=True, tag_field="event", tag="carrier"):
    up: bool


class Conflict(msgspec.Struct, frozen=True, tag_field="event", tag="conflict"):
    address: str
    mac: str


class Refused(msgspec.Struct, frozen=True, tag_field="event", tag="refused"):
    detail: str
    epoch: int | None = None


Report = Hello | Held | Dropped | Carrier | Conflict | Refused

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


class VipLink:
    """Keeps the connection. `on_change(able, reason)`: whether this twin could hold the address has changed.

    `on_lost(reason)`: the address of the epoch being held could not be taken or kept.
    """

    def __init__(
        self, path: str, *, on_change: Callable[[bool, str], None], on_lost: Callable[[str], None]
    ) -> None:
        self._path = path
        self._on_change = on_change
        self._on_lost = on_lost
        self._writer: asyncio.StreamWriter | None = None
        self._carrier = False
        self._reason = "tmr-vip is not connected yet"
        self._epoch: int | None = None
        """Epoch for which the address is wanted."""
        self._sent: float = float("-inf")
        """The deadline that tmr-vip was told last, for this epoch."""
        self._held = False
        self.lingers: float = float("-inf")
        """Until when (CLOCK_BOOTTIME) the kernel may keep an address up that a dead tmr-vip cannot remove."""
        self._back = asyncio.Event()
        self._dropped = asyncio.Event()
        self._conflict = ""

    @property
    def able(self) -> bool:
        """This twin could hold the address: tmr-vip is there and the front interface has a carrier."""
        return self._writer is not None and self._carrier

    @property
    def held(self) -> bool:
        """tmr-vip says that the address is up here."""
        return self._held

    @property
    def alarms(self) -> list[str]:
        """What an operator should look at."""
        found = [] if self.able else [f"the virtual address cannot be held here: {self._reason}"]
        return [*found, self._conflict] if self._conflict else found

    # -- commands ------------------------------------------------------------------------------------------

    def hold(self, epoch: int, deadline: float, will: Callable[[], bytes], *, step: float) -> None:
        """Hold the address until `deadline` (CLOCK_BOOTTIME, seconds); said again when it moved by `step`."""
        if self._writer is None:
            return
        if epoch != self._epoch:
            self._epoch, self._held, self._sent, self._conflict = epoch, False, float("-inf"), ""
        if deadline - self._sent < step:
            return
        self._sent = deadline
        self._write(Hold(epoch, int(deadline * 1_000_000_000), will()))

    async def drop(self, epoch: int, patience: float) -> bool:
        """Give the address up; True once tmr-vip says that it is gone, False after `patience` seconds."""
        if self._writer is None:
            return False
        self._epoch = None
        self._dropped.clear()
        self._write(Drop(epoch))
        try:
            await asyncio.wait_for(self._dropped.wait(), patience)
        except TimeoutError:
            log.error("tmr-vip did not acknowledge that the address is gone", extra=fields(epoch=epoch))
            return False
        return True

    async def gone(self, now: float) -> None:
        """Wait until an address that a dead tmr-vip left behind is gone; `now`: CLOCK_BOOTTIME."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._back.wait(), max(0.0, self.lingers - now))

    def forget(self, epoch: int) -> None:
        """The reign is over already: have the address dropped without waiting for it."""
        if self._epoch != epoch:
            return
        self._epoch, self._held = None, False
        if self._writer is not None:
            self._write(Drop(epoch))

    def _write(self, command: Hold | Drop) -> None:
        assert self._writer is not None  # noqa: S101
        self._writer.write(_encoder.encode(command) + b"\n")

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
        """Reports, until the connection ends; why it did."""
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                try:
                    report = _decoder.decode(line)
                except msgspec.DecodeError as error:
                    log.warning("tmr-vip said something unknown", extra=fields(error=error))
                    continue
                if isinstance(report, Hello):
                    if report.version != VERSION:
                        return f"tmr-vip speaks version {report.version} of the protocol, not {VERSION}"
                    self._writer, self._carrier = writer, report.carrier
                    self.lingers = float("-inf")  # it removes what was left behind before it listens
                    self._back.set()
                    self._changed("" if report.carrier else "the front interface has no carrier")
                else:
                    self._heard(report)
        return "the connection to tmr-vip ended"

    def _heard(self, report: Held | Dropped | Carrier | Conflict | Refused) -> None:
        match report:
            case Held():
                self._held = report.epoch == self._epoch
                log.info("virtual address is up", extra=fields(epoch=report.epoch))
            case Dropped():
                log.info(
                    "virtual address is down",
                    extra=fields(epoch=report.epoch, reason=report.reason, detail=report.detail),
                )
                self._held = False
                self._dropped.set()
                if report.epoch == self._epoch:
                    if report.reason == "deadline":
                        self._sent = float("-inf")  # it may have been extended meanwhile
                    else:
                        self._give_up(report.detail or report.reason)
            case Carrier():
                self._carrier = report.up
                self._changed("" if report.up else "the front interface lost its carrier")
            case Conflict():
                self._conflict = f"{report.mac} claims the virtual address {report.address} too"
                log.error("address conflict", extra=fields(address=report.address, mac=report.mac))
            case Refused():
                log.warning(
                    "tmr-vip refused a command", extra=fields(epoch=report.epoch, detail=report.detail)
                )
                if report.epoch == self._epoch and self._epoch is not None:
                    if self._held:
                        self._sent = float("-inf")
                    else:
                        self._give_up(report.detail)

    def _give_up(self, detail: str) -> None:
        self._epoch = None
        self._on_lost(f"tmr-vip does not hold the address: {detail}")

    def _changed(self, reason: str) -> None:
        self._reason = reason
        log.info("virtual address manager", extra=fields(able=self.able, reason=reason))
        self._on_change(self.able, reason)

    def _lost(self, reason: str) -> None:
        if self._writer is None:
            self._reason = reason
            return
        if self._held or self._epoch is not None:
            self.lingers = self._sent
            self._back.clear()
        self._writer, self._carrier, self._epoch, self._held = None, False, None, False
        self._dropped.set()
        self._changed(reason)
