# SPDX-License-Identifier: Apache-2.0
"""Input of the VIP manager: frames from the segment, commands on its socket."""

from ipaddress import IPv4Address, IPv6Address

from tmr.vip import frames, protocol

MAC = bytes.fromhex("020000000001")
_NA = frames.unsolicited_na(IPv6Address("fd00:20::100"), MAC)
SEEDS = [
    *frames.gratuitous_arp(IPv4Address("10.20.0.100"), MAC),
    _NA[54:],
    b'{"op":"hold","epoch":7,"deadline_ns":123,"release":"AAECAw=="}',
    b'{"op":"drop","epoch":7}',
]


def check(data: bytes) -> None:
    """One frame, and one message."""
    for heard in (frames.parse_arp(data), frames.parse_na(data, 255), frames.parse_na(data, 1)):
        if isinstance(heard, frames.Claim):
            assert frames.mac_text(heard.mac)
            assert str(heard.address)
        else:
            assert heard
    found = protocol.decode_command(data)
    if isinstance(found, protocol.CommandRefused):
        assert protocol.encode(found).count(b"\n") == 1
