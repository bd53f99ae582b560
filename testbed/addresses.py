# SPDX-License-Identifier: Apache-2.0
"""Addresses, ports and the lease of the TMR system on the lab's machines, as inventory/lab has them. Pure."""

from __future__ import annotations

from typing import Final

VIP: Final = "10.20.0.100"
TWINS: Final = {"tmr1": "10.20.0.21", "tmr2": "10.20.0.22"}
UPSTREAMS: Final = {"up1": "10.30.0.11", "up2": "10.30.0.12", "up3": "10.30.0.13"}
SERVERS: Final = (*UPSTREAMS, *TWINS)
UPSTREAM_PORT: Final = 22351
SERVER_PORT: Final = 22350
LEASE_S: Final = 2.0
"""`tmr_lease_ttl`."""


def other(twin: str) -> str:
    """The other twin."""
    return next(name for name in TWINS if name != twin)
