# SPDX-License-Identifier: Apache-2.0
"""The kernel's addresses and link by netlink (pyroute2): sets, removes, lists, and watches.

The sockets are opened once, before they are needed: cold, pyroute2 costs a quarter of a second; warm, 1 ms.
"""

import errno
import socket
from collections.abc import AsyncIterator, Iterable
from ipaddress import IPv6Address, ip_address
from typing import Any, Self

import msgspec
from pyroute2 import AsyncIPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl import (  # type: ignore[import-untyped]
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_LINK,
)

from tmr.vip.config import Address

IFA_F_NODAD = 0x02
_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000
_ARPHRD_ETHER = 1
_ALREADY_GONE = {errno.EADDRNOTAVAIL, errno.ENODEV}


class InterfaceGone(Exception):
    """The interface does not exist (any more)."""


class Link(msgspec.Struct, frozen=True):
    """State of the interface."""

    index: int
    mac: bytes
    carrier: bool


class AddressRemoved(msgspec.Struct, frozen=True):
    """The kernel says that an address went away, by whose hand it does not say."""

    address: Address


class AddressAdded(msgspec.Struct, frozen=True):
    """The kernel says that an address was added, or given another lifetime.

    `own`: in the form that `set` gives it, on its interface.
    """

    address: Address
    own: bool


class KernelAddresses:
    """Netlink sockets of one network namespace. Use as an asynchronous context manager."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._requests = AsyncIPRoute()
        self._events = AsyncIPRoute()
        self.index = 0

    async def __aenter__(self) -> Self:
        await self._requests.__aenter__()
        await self._events.__aenter__()
        await self._events.bind(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._events.__aexit__(None, None, None)
        await self._requests.__aexit__(None, None, None)

    async def link(self) -> Link:
        """State of the interface; raises InterfaceGone with the names that exist."""
        # To its end: while a dump is half read, the kernel refuses the next one on this socket (EBUSY).
        links = {message.get("ifname"): message async for message in await self._requests.get_links()}
        if self._interface in links:
            link = _link(links[self._interface])
            self.index = link.index
            return link
        raise InterfaceGone(
            f"interface: {self._interface} does not exist; correct it in the configuration"
            f" (there are: {', '.join(map(str, links))})"
        )

    async def set(self, address: Address, lifetime: int) -> None:
        """Add `address`, or renew it; the kernel removes it after `lifetime` whole seconds (at least 1).

        IPv6 without duplicate address detection, which would keep it unusable for a second, and with a
        preferred lifetime of 0: such an address answers, but is not chosen as source of a new connection
        (RFC 6724 rule 3).
        """
        if lifetime < 1:
            raise ValueError("a lifetime of less than 1 s cannot be expressed")
        v6 = isinstance(address, IPv6Address)
        await self._requests.addr(
            "replace",
            index=self.index,
            family=_family(address),
            address=str(address),
            prefixlen=address.max_prefixlen,
            valid_lft=lifetime,
            preferred_lft=0 if v6 else lifetime,
            **({"flags": IFA_F_NODAD} if v6 else {}),
        )

    async def remove(self, address: Address) -> None:
        """Remove what `set` added; no error if it is not there. Done when this returns."""
        await self._delete(self.index, address, address.max_prefixlen)

    async def clear(self, addresses: Iterable[Address], *, keep_own: bool = False) -> list[str]:
        """Remove leftovers: any of `addresses`, whatever its prefix length, on any interface. Says what went.

        `keep_own`: what `set` added stays.

        Parsed addresses are compared: 10.20.0.10 is no part of 10.20.0.100.
        """
        wanted = set(addresses)
        found = []
        async for message in await self._requests.get_addr():
            address = _address(message)
            if address in wanted and not (keep_own and self._own(message)):
                found.append((int(message["index"]), address, int(message["prefixlen"])))
        for index, address, prefix in found:
            await self._delete(index, address, prefix)
        return [f"{address}/{prefix}" for _, address, prefix in found]

    async def missing(self, addresses: Iterable[Address]) -> list[Address]:
        """Those of `addresses` that the interface does not have."""
        present = {_address(message) async for message in await self._requests.get_addr(index=self.index)}
        return [address for address in addresses if address not in present]

    async def changes(self) -> AsyncIterator[Link | AddressRemoved | AddressAdded]:
        """Changes of the interface, for ever; raises InterfaceGone when it is deleted."""
        while True:
            async for message in self._events.get():
                match message.get("event"):
                    case "RTM_NEWLINK" if message["index"] == self.index:
                        yield _link(message)
                    case "RTM_DELLINK" if message["index"] == self.index:
                        # A bridge announces the removal of a port by the same message, of its own family.
                        if message["family"] == socket.AF_UNSPEC:
                            raise InterfaceGone(f"interface {self._interface} was deleted")
                    case "RTM_DELADDR" if message["index"] == self.index:
                        yield AddressRemoved(_address(message))
                    case "RTM_NEWADDR":
                        yield AddressAdded(_address(message), self._own(message))
                    case _:
                        pass

    def _own(self, message: Any) -> bool:
        """The address of the message is as `set` adds it."""
        return bool(
            message["index"] == self.index and message["prefixlen"] == _address(message).max_prefixlen
        )

    async def _delete(self, index: int, address: Address, prefix: int) -> None:
        try:
            await self._requests.addr(
                "del", index=index, family=_family(address), address=str(address), prefixlen=prefix
            )
        except NetlinkError as error:
            if error.code not in _ALREADY_GONE:
                raise


def _family(address: Address) -> int:
    return socket.AF_INET6 if address.version == 6 else socket.AF_INET


def _address(message: Any) -> Address:
    # IPv4 gives the own address as IFA_LOCAL (IFA_ADDRESS is the peer of a point-to-point link).
    return ip_address(message.get("local") or message.get("address"))


def _link(message: Any) -> Link:
    text = message.get("address") or ""
    mac = bytes.fromhex(text.replace(":", ""))
    if message["ifi_type"] != _ARPHRD_ETHER or len(mac) != 6:
        raise InterfaceGone(f"interface: {message.get('ifname')} is not Ethernet; choose the front interface")
    wanted = _IFF_UP | _IFF_LOWER_UP
    return Link(index=message["index"], mac=mac, carrier=message["flags"] & wanted == wanted)
