# SPDX-License-Identifier: Apache-2.0
"""The front LAN itself: sends announcement frames, and hears other machines that claim our addresses."""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address

from tmr.vip import frames
from tmr.vip.config import Address
from tmr.vip.frames import Claim
from tmr.vip.log_fields import fields

log = logging.getLogger(__name__)

_FRAMES_A_TURN = 64  # then others on the event loop have their turn
_ICMP6_FILTER = 1  # <linux/icmpv6.h>: a set bit blocks the type
_SO_BINDTODEVICE = 25
_HOP_LIMIT_SPACE = socket.CMSG_SPACE(4)


class Segment:
    """Packet sockets on one interface, all opened at once; needs CAP_NET_RAW."""

    def __init__(self, interface: str, addresses: tuple[Address, ...], mac: bytes) -> None:
        self._interface = interface
        self._addresses = addresses
        self.mac = mac
        self._arp = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self._arp.bind((interface, frames.ETH_P_ARP))
        self._na: socket.socket | None = None
        self._icmp: socket.socket | None = None
        if any(address.version == 6 for address in addresses):
            # Protocol 0 receives nothing: for sending only.
            self._na = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            self._icmp = _na_listener(interface)

    def close(self) -> None:
        """Close all sockets."""
        for one in (self._arp, self._na, self._icmp):
            if one is not None:
                one.close()

    def announce(self, live: Callable[[], bool]) -> bool:
        """Send every announcement frame; `live` is asked before each, and False is returned if it said no.

        A frame that cannot be sent (queue full, link just lost) is logged: the schedule brings the next.
        """
        for address in self._addresses:
            if isinstance(address, IPv4Address):
                for frame in frames.gratuitous_arp(address, self.mac):
                    if not live():
                        return False
                    self._send(self._arp, frame, frames.ETH_P_ARP)
            elif self._na is not None:
                if not live():
                    return False
                self._send(self._na, frames.unsolicited_na(address, self.mac), frames.ETH_P_IPV6)
        return True

    def _send(self, through: socket.socket, frame: bytes, protocol: int) -> None:
        try:
            through.sendto(frame, (self._interface, protocol))
        except OSError as error:
            log.warning("frame-not-sent", extra=fields(reason=error.strerror))

    def probe(self, source: IPv4Address, targets: tuple[IPv4Address, ...]) -> None:
        """Ask every target where it is."""
        for target in targets:
            self._send(self._arp, frames.arp_request(target, source, self.mac), frames.ETH_P_ARP)

    def listen(
        self,
        loop: asyncio.AbstractEventLoop,
        heard: Callable[[Claim], None],
        arrived: Callable[[IPv4Address | None], None],
    ) -> None:
        """Call `heard` for every claim to one of our addresses that does not come from our own MAC.

        `arrived` is called for each ARP frame of another machine, with the address that answers us in it.
        """
        loop.add_reader(self._arp, self._read_arp, heard, arrived)
        if self._icmp is not None:
            loop.add_reader(self._icmp, self._read_na, self._icmp, heard)

    def silence(self, loop: asyncio.AbstractEventLoop) -> None:
        """End `listen`."""
        loop.remove_reader(self._arp)
        if self._icmp is not None:
            loop.remove_reader(self._icmp)

    def _read_arp(
        self, heard: Callable[[Claim], None], arrived: Callable[[IPv4Address | None], None]
    ) -> None:
        for _ in range(_FRAMES_A_TURN):
            try:
                frame = self._arp.recv(2048)
            except BlockingIOError:
                return
            except OSError as error:  # ENETDOWN when the interface goes down: the carrier watch tells
                log.info("arp-not-heard", extra=fields(reason=error.strerror))
                return
            if frames.sender_mac(frame) != self.mac:
                arrived(frames.arp_answer(frame, self.mac))
            self._consider(frames.parse_arp(frame), heard)

    def _read_na(self, icmp: socket.socket, heard: Callable[[Claim], None]) -> None:
        for _ in range(_FRAMES_A_TURN):
            try:
                message, ancillary, _, _ = icmp.recvmsg(2048, _HOP_LIMIT_SPACE)
            except BlockingIOError:
                return
            except OSError as error:
                log.info("na-not-heard", extra=fields(reason=error.strerror))
                return
            hop_limit = next(
                (
                    struct.unpack("=i", data)[0]
                    for level, kind, data in ancillary
                    if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)
                ),
                0,
            )
            self._consider(frames.parse_na(message, hop_limit), heard)

    def _consider(self, claim: Claim | str, heard: Callable[[Claim], None]) -> None:
        if isinstance(claim, str):
            log.debug("frame-ignored", extra=fields(reason=claim))
        elif claim.address in self._addresses and claim.mac != self.mac:
            heard(claim)


def _na_listener(interface: str) -> socket.socket:
    """A raw socket that the kernel fills with Neighbour Advertisements of this interface and nothing else."""
    icmp = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    blocked = [0xFFFFFFFF] * 8
    blocked[frames.NEIGHBOUR_ADVERTISEMENT >> 5] &= ~(1 << (frames.NEIGHBOUR_ADVERTISEMENT & 31))
    icmp.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *blocked))
    icmp.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, interface.encode() + b"\0")
    icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    return icmp
