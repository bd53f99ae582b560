# SPDX-License-Identifier: Apache-2.0
"""Connects what decides with what does: one queue of events, and one actor that handles them in turn."""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from tmr.vip import actions, events, lease_release, protocol
from tmr.vip import decide as d
from tmr.vip.addresses import AddressAdded, AddressRemoved, InterfaceGone, KernelAddresses, Link
from tmr.vip.config import Address, Config, ConfigError
from tmr.vip.frames import Claim, mac_text
from tmr.vip.front import PROBE_EVERY_NS, FrontWatch
from tmr.vip.link import CommandLink
from tmr.vip.log_fields import fields
from tmr.vip.notify import Notifier
from tmr.vip.segment import Segment

log = logging.getLogger(__name__)

_QUEUE_LENGTH = 256
_LOOK_S = 0.5
"""Between two looks at whether the socket's path leads here still."""
_SLOW_NS = 100_000_000
"""A kernel lifetime that was set so much later than it was computed might reach past the deadline."""
_RELEASE_PATIENCE_S = 3.0  # at stop, for a release still under way


def boottime_ns() -> int:
    """CLOCK_BOOTTIME, the clock of every deadline."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class _Lapsed(Exception):
    """The lease ended between the decision and the act."""


class Manager:
    """One run of the daemon: `await run()` returns after `stop()`, and raises when it cannot go on."""

    def __init__(
        self,
        config: Config,
        notifier: Notifier,
        kernel: KernelAddresses,
        clock: Callable[[], int] = boottime_ns,
    ) -> None:
        self._config = config
        self._notifier = notifier
        self._kernel = kernel
        self._clock = clock
        self._queue: asyncio.Queue[events.Event | AddressRemoved] = asyncio.Queue(_QUEUE_LENGTH)
        self._link = CommandLink(config.socket, config.peer_user, self._wake)
        self._tls = lease_release.tls_context(config.release)
        self._releases: set[asyncio.Task[None]] = set()
        self._state = d.State(carrier=False)
        self._segment: Segment | None = None
        self._front = None if config.watch is None else FrontWatch(clock())
        self._status = ""
        self._logged_epoch = -1
        """Epoch for which the log says that the address is held."""
        self._stopping = False
        self._claimed: set[str] = set()
        """Addresses with a foreign claim in the queue: a flood of frames must not crowd out commands."""

    def stop(self) -> None:
        """Ask for an orderly end."""
        self._stopping = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(asyncio.QueueFull):  # then it is awake anyway
            self._queue.put_nowait(events.Tick())

    async def run(self) -> None:
        """Remove leftovers, listen, and do as told; the address is gone when this returns."""
        link = await self._kernel.link()
        for removed in await self._kernel.clear(self._config.addresses):
            log.warning("leftover-removed", extra=fields(address=removed))
        self._segment = segment = Segment(self._config.interface, self._config.addresses, link.mac)
        self._state = d.State(carrier=link.carrier)
        loop = asyncio.get_running_loop()
        segment.listen(loop, self._heard, self._arrived)
        self._link.open()
        log.info(
            "ready",
            extra=fields(interface=self._config.interface, mac=mac_text(link.mac), carrier=link.carrier),
        )
        self._notifier.send(READY="1")
        self._show_status()
        tasks = [asyncio.create_task(self._act()), asyncio.create_task(self._watch(segment))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._notifier.send(STOPPING="1")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            segment.silence(loop)
            self._link.close()
            try:
                await self._kernel.clear(self._config.addresses)
            finally:
                segment.close()
            if self._releases:
                await asyncio.wait(self._releases, timeout=_RELEASE_PATIENCE_S)

    async def _act(self) -> None:
        while True:
            event = await self._next()
            self._notifier.send(WATCHDOG="1")
            # Before anything else is done: a hold may have waited, and a drop behind it.
            for command in self._link.take():
                await self._handle(command)
            self._mend_socket()
            await self._look_at_front()
            if isinstance(event, AddressRemoved):
                if not self._state.up:
                    continue
                # Tells nothing about now: it may be our own doing of a moment ago.
                for address in await self._kernel.missing(self._config.addresses):
                    log.warning("vanished", extra=fields(address=address))
                    await self._handle(events.Vanished(str(address)))
                    break
                continue
            if isinstance(event, events.Foreign):
                self._claimed.discard(event.address)
            await self._handle(event)
            if isinstance(event, events.Stop):
                return

    async def _next(self) -> events.Event | AddressRemoved:
        if self._stopping:
            return events.Stop()
        wake = d.wake_at(self._state)
        wait = min(_LOOK_S, self._notifier.watchdog_interval or _LOOK_S)
        if self._front is not None:
            wait = min(wait, PROBE_EVERY_NS / d.SECOND_NS)
        if wake is not None:
            wait = min(wait, max(0.0, (wake - self._clock()) / d.SECOND_NS))
        try:
            async with asyncio.timeout(wait):
                return await self._queue.get()
        except TimeoutError:
            return events.Tick()

    async def _look_at_front(self) -> None:
        watch, now_ns = self._config.watch, self._clock()
        if watch is None or self._front is None or self._segment is None:
            return
        if self._state.carrier and self._front.probe_due(now_ns):
            self._segment.probe(watch.source, watch.targets)
        if (view := self._front.view(now_ns)) != self._state.front:
            await self._handle(events.FrontSeen(view))

    def _arrived(self, answering: IPv4Address | None) -> None:
        if self._front is not None and self._config.watch is not None:
            self._front.heard(self._clock(), answer=answering in self._config.watch.targets)

    def _mend_socket(self) -> None:
        """Listen anew where the socket's path is gone. Raises ConfigError: only a restart can help."""
        if self._link.reachable:
            return
        try:
            self._link.open()
        except ConfigError:
            # The directory is root's to make. A commander that is connected is not disturbed for it.
            if not self._link.commanded:
                raise
        else:
            log.warning("socket-made-anew", extra=fields(path=self._config.socket))

    async def _handle(self, event: events.Event) -> None:
        self._state, actions = d.decide(self._state, event, self._clock())
        try:
            for action in actions:
                await self._perform(action)
        except _Lapsed:
            log.warning("lapsed", extra=fields(reason="the lease ended before the act"))
            await self._handle(events.Tick())
        except (OSError, NetlinkError) as error:
            log.error("failed", extra=fields(reason=error))
            await self._handle(events.Failed(str(error)))
        self._show_status()

    async def _perform(self, action: actions.Action) -> None:
        match action:
            case actions.Add(until_ns):
                for address in self._config.addresses:
                    await self._set(address, until_ns, first=True)
            case actions.Refresh(until_ns):
                for address in self._config.addresses:
                    await self._set(address, until_ns, first=False)
            case actions.Remove():
                await self._remove()
            case actions.RemoveStrays(keep_own):
                for removed in await self._kernel.clear(self._config.addresses, keep_own=keep_own):
                    log.warning("stray-removed", extra=fields(address=removed))
            case actions.Announce(until_ns):
                if self._segment is not None and not self._segment.announce(self._live(until_ns)):
                    raise _Lapsed
            case actions.SendRelease(epoch, body, until_ns):
                log.info("lease-release", extra=fields(epoch=epoch, bytes=len(body)))
                task = asyncio.create_task(
                    lease_release.send(self._config.release, self._fresh_tls(), body, self._live(until_ns))
                )
                self._releases.add(task)
                task.add_done_callback(self._releases.discard)
            case actions.Tell(report):
                self._log_report(report)
                self._link.tell(report)
            case actions.Ignore(reason):
                log.debug("ignored", extra=fields(reason=reason))

    async def _set(self, address: Address, until_ns: int, first: bool) -> None:
        # Computed here and not in the decision: what was decided may have waited.
        now_ns = self._clock()
        lifetime = d.kernel_lifetime(until_ns, now_ns)
        if lifetime:
            await self._kernel.set(address, lifetime)
            # This process may have stood still in between, and the lifetime has begun only now.
            if self._clock() >= until_ns:
                raise _Lapsed
            if self._clock() - now_ns > _SLOW_NS:
                raise OSError("the kernel took too long to put the address up")
        elif first:
            raise OSError("less than 1 s of lease was left when the address was to be added")

    async def _remove(self) -> None:
        try:
            for address in self._config.addresses:
                await self._kernel.remove(address)
        except (OSError, NetlinkError) as error:
            # Only the kernel's lifetime can help now; a restart begins with removing leftovers.
            raise RuntimeError(f"the VIP cannot be removed: {error}") from error

    def _live(self, until_ns: int) -> Callable[[], bool]:
        return lambda: self._clock() < until_ns

    def _fresh_tls(self) -> ssl.SSLContext:
        try:
            self._tls = lease_release.tls_context(self._config.release)  # certificates may have been renewed
        except ConfigError as error:
            log.error("tls-files", extra=fields(reason=error))
        return self._tls

    async def _watch(self, segment: Segment) -> None:
        async for change in self._kernel.changes():
            if isinstance(change, Link):
                segment.mac = change.mac
                await self._queue.put(events.Carrier(change.carrier))
            elif change.address not in self._config.addresses:
                continue
            elif isinstance(change, AddressAdded):
                if change.own and self._state.up:
                    continue
                await self._queue.put(events.Appeared(str(change.address)))
            else:
                await self._queue.put(change)
        raise InterfaceGone("the kernel's events ended")

    def _heard(self, claim: Claim) -> None:
        address = str(claim.address)
        if not self._state.up or address in self._claimed:
            return
        try:
            self._queue.put_nowait(events.Foreign(address, mac_text(claim.mac)))
        except asyncio.QueueFull:
            log.warning("claim-unheard", extra=fields(address=address, reason="too many events at once"))
        else:
            self._claimed.add(address)

    def _log_report(self, report: protocol.Report) -> None:
        match report:
            case protocol.Held(epoch) if epoch != self._logged_epoch:
                self._logged_epoch = epoch
                log.info("held", extra=fields(epoch=epoch))
            case protocol.Dropped(epoch, reason, detail):
                self._logged_epoch = -1
                log.info("dropped", extra=fields(epoch=epoch, reason=reason, detail=detail))
            case protocol.CarrierChanged(up):
                log.warning("carrier", extra=fields(up=up))
            case protocol.Front(view):
                log.info("front", extra=fields(view=view))
            case protocol.Conflict(address, mac):
                log.error("conflict", extra=fields(address=address, mac=mac))
            case protocol.CommandRefused(detail, epoch):
                log.warning("refused", extra=fields(epoch=epoch, reason=detail))

    def _show_status(self) -> None:
        term = self._state.term
        if self._state.up and term is not None:
            status = f"holding the VIP, epoch {term.epoch}"
        else:
            status = "not holding the VIP" + ("" if self._state.carrier else ", no carrier")
        if status != self._status:
            self._status = status
            self._notifier.send(STATUS=status)
