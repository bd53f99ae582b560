# SPDX-License-Identifier: Apache-2.0
"""Announcement frames against scapy, an independent decoder and encoder."""

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from tmr.vip import frames
from tmr.vip.frames import Claim

MAC = bytes.fromhex("020000000021")
VIP = IPv4Address("10.20.0.100")
VIP6 = IPv6Address("fd00:20::100")

macs = st.binary(min_size=6, max_size=6)


@given(address=st.ip_addresses(v=4), mac=macs)
def test_gratuitous_arp_equals_what_scapy_builds(address: IPv4Address, mac: bytes) -> None:
    text, ip = mac.hex(":"), str(address)
    ethernet = Ether(src=text, dst="ff:ff:ff:ff:ff:ff", type=0x0806)
    request = ethernet / ARP(op=1, hwsrc=text, psrc=ip, hwdst="00:00:00:00:00:00", pdst=ip)
    reply = ethernet / ARP(op=2, hwsrc=text, psrc=ip, hwdst=text, pdst=ip)
    assert frames.gratuitous_arp(address, mac) == (bytes(request), bytes(reply))


@given(address=st.ip_addresses(v=6), mac=macs)
def test_unsolicited_na_equals_what_scapy_builds(address: IPv6Address, mac: bytes) -> None:
    text, ip = mac.hex(":"), str(address)
    expected = (
        Ether(src=text, dst="33:33:00:00:00:01", type=0x86DD)
        / IPv6(src=ip, dst="ff02::1", hlim=255)
        / ICMPv6ND_NA(R=0, S=0, O=1, tgt=ip)
        / ICMPv6NDOptDstLLAddr(lladdr=text)
    )
    assert frames.unsolicited_na(address, mac) == bytes(expected)


def test_own_announcements_are_understood() -> None:
    for frame in frames.gratuitous_arp(VIP, MAC):
        assert frames.parse_arp(frame) == Claim(VIP, MAC)
        assert frames.parse_arp(frame + bytes(18)) == Claim(VIP, MAC)  # padded on the wire
    assert frames.parse_na(frames.unsolicited_na(VIP6, MAC)[54:], 255) == Claim(VIP6, MAC)


REPLY = frames.gratuitous_arp(VIP, MAC)[1]


def patched(offset: int, data: bytes) -> bytes:
    return REPLY[:offset] + data + REPLY[offset + len(data) :]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "too short"),
        (REPLY[:41], "too short"),
        (patched(12, b"\x08\x00"), "not ARP"),
        (patched(14, b"\x00\x06"), "not ARP for IPv4 over Ethernet"),
        (patched(16, b"\x86\xdd"), "not ARP for IPv4 over Ethernet"),
        (patched(20, b"\x00\x03"), "neither request nor reply"),
        (patched(28, bytes(4)), "probe"),
    ],
)
def test_arp_that_claims_nothing_says_why(frame: bytes, reason: str) -> None:
    found = frames.parse_arp(frame)
    assert isinstance(found, str)
    assert reason in found


NA = frames.unsolicited_na(VIP6, MAC)[54:]


@pytest.mark.parametrize(
    ("message", "hop_limit", "reason"),
    [
        (NA, 254, "router"),
        (NA[:23], 255, "too short"),
        (b"\x87" + NA[1:], 255, "not a Neighbour Advertisement"),
        (NA[:24] + b"\x02\x00" + bytes(6), 255, "length zero"),
    ],
)
def test_na_that_claims_nothing_says_why(message: bytes, hop_limit: int, reason: str) -> None:
    found = frames.parse_na(message, hop_limit)
    assert isinstance(found, str)
    assert reason in found


def test_na_without_link_layer_address_still_claims() -> None:
    assert frames.parse_na(NA[:24], 255) == Claim(VIP6, b"")
    assert frames.mac_text(b"") == "unknown"


@given(data=st.binary(max_size=128), hop_limit=st.just(255))
def test_parsers_survive_anything(data: bytes, hop_limit: int) -> None:
    frames.parse_arp(data)
    frames.parse_na(data, hop_limit)
    frames.parse_na(b"\x88\x00" + data, hop_limit)


@given(target=st.ip_addresses(v=4), source=st.ip_addresses(v=4), mac=macs)
def test_arp_request_equals_what_scapy_builds(target: IPv4Address, source: IPv4Address, mac: bytes) -> None:
    text = mac.hex(":")
    expected = Ether(src=text, dst="ff:ff:ff:ff:ff:ff", type=0x0806) / ARP(
        op=1, hwsrc=text, psrc=str(source), hwdst="00:00:00:00:00:00", pdst=str(target)
    )
    assert frames.arp_request(target, source, mac) == bytes(expected)


def test_answer_is_a_reply_to_this_machine_and_nothing_else() -> None:
    other, text = "02:00:00:00:00:22", MAC.hex(":")

    def frame(**fields: Any) -> bytes:
        arp: dict[str, Any] = {
            "op": 2,
            "hwsrc": other,
            "psrc": "10.20.0.1",
            "hwdst": text,
            "pdst": "10.20.0.21",
        } | fields
        return bytes(Ether(src=other, dst=text) / ARP(**arp))

    assert frames.arp_answer(frame(), MAC) == IPv4Address("10.20.0.1")
    assert frames.arp_answer(frame(op=1), MAC) is None
    assert frames.arp_answer(frame(hwdst="02:00:00:00:00:99"), MAC) is None
    assert frames.arp_answer(frame()[:30], MAC) is None
    assert frames.sender_mac(frame()).hex(":") == other
    assert frames.sender_mac(b"short") == b""


@given(st.binary(max_size=80))
def test_any_bytes_are_an_answer_or_none(frame: bytes) -> None:
    assert frames.arp_answer(frame, MAC) is None or len(frame) >= 42
