# SPDX-License-Identifier: Apache-2.0
"""Announcement frames: gratuitous ARP and unsolicited Neighbour Advertisement, built and parsed as bytes.

Sources: RFC 826 (ARP), RFC 5944 §4.6 (gratuitous ARP in request and reply form), RFC 5227 (address
conflicts), RFC 4861 §4.4 and §7.2.6 (Neighbour Advertisement), RFC 2464 §7 (IPv6 multicast on Ethernet).
"""

import struct
from ipaddress import IPv4Address, IPv6Address

import msgspec

ETH_P_ARP = 0x0806
ETH_P_IPV6 = 0x86DD
BROADCAST = b"\xff" * 6
ALL_NODES = IPv6Address("ff02::1")
ALL_NODES_MAC = b"\x33\x33\x00\x00\x00\x01"

ARP_REQUEST = 1
ARP_REPLY = 2
_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_FIXED = (1, 0x0800, 6, 4)  # hardware Ethernet, protocol IPv4, and their address lengths

ICMPV6 = 58
NEIGHBOUR_ADVERTISEMENT = 136
_OVERRIDE = 0x20000000
_TARGET_LINK_LAYER_ADDRESS = 2
_NA = struct.Struct("!BBHI16s")
_IPV6 = struct.Struct("!IHBB16s16s")


class Claim(msgspec.Struct, frozen=True):
    """A machine on the segment says that `address` is at `mac` (empty where the frame does not say)."""

    address: IPv4Address | IPv6Address
    mac: bytes


def mac_text(mac: bytes) -> str:
    """`02:00:…`, or `unknown` for an empty one."""
    return mac.hex(":") or "unknown"


def gratuitous_arp(address: IPv4Address, mac: bytes) -> tuple[bytes, bytes]:
    """Both forms, request first: some stacks and switches learn from only one of them.

    Sender and target protocol address are both `address`. The target hardware address is zero in the request
    (RFC 5227 §2.3) and the sender's in the reply (RFC 5944 §4.6). 42 bytes each, without padding and checksum
    of the Ethernet frame: the driver adds these.
    """
    ethernet = _ETHERNET.pack(BROADCAST, mac, ETH_P_ARP)
    ip = address.packed
    return (
        ethernet + _ARP.pack(*_ARP_FIXED, ARP_REQUEST, mac, ip, bytes(6), ip),
        ethernet + _ARP.pack(*_ARP_FIXED, ARP_REPLY, mac, ip, mac, ip),
    )


def arp_request(target: IPv4Address, source: IPv4Address, mac: bytes) -> bytes:
    """To all: where is `target`? `source`, one of this machine's own addresses, is told the answer."""
    ethernet = _ETHERNET.pack(BROADCAST, mac, ETH_P_ARP)
    return ethernet + _ARP.pack(*_ARP_FIXED, ARP_REQUEST, mac, source.packed, bytes(6), target.packed)


def arp_answer(frame: bytes, mac: bytes) -> IPv4Address | None:
    """The address that answers a request which came from `mac`; None for any other frame."""
    if len(frame) < _ETHERNET.size + _ARP.size or _ETHERNET.unpack_from(frame)[2] != ETH_P_ARP:
        return None
    *fixed, operation, _, sender, target_mac, _ = _ARP.unpack_from(frame, _ETHERNET.size)
    if tuple(fixed) != _ARP_FIXED or operation != ARP_REPLY or target_mac != mac:
        return None
    return IPv4Address(sender)


def sender_mac(frame: bytes) -> bytes:
    """The source address of an Ethernet frame; empty where it is too short."""
    return frame[6:12] if len(frame) >= _ETHERNET.size else b""


def unsolicited_na(address: IPv6Address, mac: bytes) -> bytes:
    """To all nodes, with Override: neighbours replace what they have cached."""
    option = struct.pack("!BB6s", _TARGET_LINK_LAYER_ADDRESS, 1, mac)
    unsummed = _NA.pack(NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE, address.packed) + option
    checksum = icmpv6_checksum(address, ALL_NODES, unsummed)
    body = unsummed[:2] + checksum.to_bytes(2, "big") + unsummed[4:]
    header = _IPV6.pack(6 << 28, len(body), ICMPV6, 255, address.packed, ALL_NODES.packed)
    return _ETHERNET.pack(ALL_NODES_MAC, mac, ETH_P_IPV6) + header + body


def icmpv6_checksum(source: IPv6Address, destination: IPv6Address, message: bytes) -> int:
    """RFC 4443 §2.3 over the pseudo-header of RFC 8200 §8.1; the message's checksum field must be zero."""
    data = source.packed + destination.packed + struct.pack("!II", len(message), ICMPV6) + message
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return ~_fold(_fold(total)) & 0xFFFF


def _fold(total: int) -> int:
    return (total & 0xFFFF) + (total >> 16)


def parse_arp(frame: bytes) -> Claim | str:
    """Claim of an Ethernet frame of type ARP, or the reason why it claims nothing."""
    if len(frame) < _ETHERNET.size + _ARP.size:
        return f"{len(frame)} bytes are too short for ARP over Ethernet"
    if _ETHERNET.unpack_from(frame)[2] != ETH_P_ARP:
        return "not ARP"
    *fixed, operation, mac, sender, _, _ = _ARP.unpack_from(frame, _ETHERNET.size)
    if tuple(fixed) != _ARP_FIXED:
        return "not ARP for IPv4 over Ethernet"
    if operation not in (ARP_REQUEST, ARP_REPLY):
        return f"ARP operation {operation} is neither request nor reply"
    if sender == bytes(4):
        return "a probe: it claims no address yet (RFC 5227 §2.1.1)"
    return Claim(IPv4Address(sender), mac)


def parse_na(message: bytes, hop_limit: int) -> Claim | str:
    """Claim of an ICMPv6 message (checksum verified), or the reason why it claims nothing."""
    if hop_limit != 255:
        return f"hop limit {hop_limit}: came through a router (RFC 4861 §7.1.2)"
    if len(message) < _NA.size:
        return f"{len(message)} bytes are too short for a Neighbour Advertisement"
    kind, code, _, _, target = _NA.unpack_from(message)
    if (kind, code) != (NEIGHBOUR_ADVERTISEMENT, 0):
        return "not a Neighbour Advertisement"
    mac = b""
    options = message[_NA.size :]
    while len(options) >= 8:
        option, length = options[0], options[1] * 8
        if length == 0:
            return "an option of length zero (RFC 4861 §4.6)"
        if option == _TARGET_LINK_LAYER_ADDRESS and len(options) >= length:
            mac = options[2:8]
        options = options[length:]
    return Claim(IPv6Address(target), mac)
