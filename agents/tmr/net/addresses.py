# SPDX-License-Identifier: Apache-2.0
"""Addresses as places: where a peer is, however the address is written."""

import ipaddress
import socket
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def place(text: str) -> Address:
    """The address in `text`; an IPv4 address in the form of IPv6 is the IPv4 one. Raises ValueError."""
    found = ipaddress.ip_address(text)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def places(addresses: Iterable[str]) -> frozenset[Address]:
    """All of them. Raises ValueError."""
    return frozenset(map(place, addresses))


def has_ipv6() -> bool:
    """Tells whether this machine's kernel has IPv6."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True
