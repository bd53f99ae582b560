# SPDX-License-Identifier: Apache-2.0
"""Texts for people of Product Item Options that are set; empty where they are not."""

from typing import TYPE_CHECKING

from tmr.licensing.spelling import exact_period, iso_time, written_bits

if TYPE_CHECKING:
    from tmr.licensing.options import ItemOptions


def show_maintenance(item: "ItemOptions") -> str:
    """Maintenance Period: release dates of the versions that may use the licence."""
    start, end = item.maintenance_start_ms, item.maintenance_end_ms
    if start is None and end is None:
        return ""
    begins = "" if start is None else f" from {iso_time(start)}"
    ends = "" if end is None else f" before {iso_time(end)}"
    return f"versions released{begins}{ends}"


def show_borrow(item: "ItemOptions") -> str:
    """Borrowing: longest time, and seats."""
    if item.borrow_s is None:
        return ""
    seats = "all seats" if item.borrow_seats is None else f"{item.borrow_seats} seats at a time"
    return f"at most {exact_period(item.borrow_s)}, {seats}"


def show_features(item: "ItemOptions") -> str:
    """Feature Map: the number, and its bits."""
    bits = item.feature_map
    return f"0x{bits:08x}, bits {written_bits(bits, ', ')}" if bits else ""


def show_linger(item: "ItemOptions") -> str:
    """Linger Time."""
    return "" if item.linger_s is None else f"a seat is kept for {exact_period(item.linger_s)}"


def show_user_data(item: "ItemOptions") -> str:
    """User Data: its length, and hexadecimal digits."""
    return f"{len(item.user_data)} bytes, {item.user_data.hex()}" if item.user_data else ""


def show_activation(item: "ItemOptions") -> str:
    """Activation Time."""
    return "" if item.activation_ms is None else f"valid from {iso_time(item.activation_ms)}"


def show_usage(item: "ItemOptions") -> str:
    """Usage Period."""
    return "" if item.usage_s is None else f"{exact_period(item.usage_s)} from the first use on"


def show_emergency(item: "ItemOptions") -> str:
    """Emergency."""
    return "used only when no ordinary licence of the product is free or valid" if item.emergency else ""
