# SPDX-License-Identifier: Apache-2.0
"""One event: something is done to a twin while the prober connects, and the other one takes over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

from bench.deployed.stand import Stand
from testbed import vip_watcher
from testbed.addresses import other
from testbed.pauses import Pause
from testbed.probing import probing
from testbed.steps import wait_for
from testbed.vip_watcher import Seen

_TAKE_OVER_S: Final = 30.0
_WATCHED_S: Final = 10.0
_PAUSE_S: Final = 0.02

Deed = Callable[[str], object]
"""An action on the twin of that name."""


class Took(msgspec.Struct, frozen=True):
    """Result of one event. `at`: Unix time, `since_ns`: CLOCK_MONOTONIC, both of its beginning."""

    at: float
    since_ns: int
    pause: Pause


def take_over(stand: Stand, address: str, port: int, victim: str, deed: Deed) -> Took:
    """The pause of the address until the other twin has it, it alone, and answers all the time."""
    successor = other(victim)

    def lacks() -> str:
        holders = vip_watcher.holders(stand.names, address)
        return "" if holders == (successor,) else f"it is on {' and '.join(holders) or 'no twin'}"

    with probing(stand.names, address, port) as prober:
        at, since = time.time(), time.monotonic_ns()
        deed(victim)
        wait_for(lacks, _TAKE_OVER_S, f"{address} on {successor} alone", pause_s=_PAUSE_S)
        prober.answered_since(time.monotonic_ns())
        return Took(at, since, prober.pause(since))


def watch(stand: Stand, address: str, port: int, victim: str, deed: Deed) -> tuple[Took, Seen]:
    """The same for an event after which nobody knows who should have the address: it is watched for 10 s."""
    with probing(stand.names, address, port) as prober, vip_watcher.watching(stand.names, address) as seen:
        at, since = time.time(), time.monotonic_ns()
        deed(victim)
        time.sleep(_WATCHED_S)  # not a wait for something: so long is looked
        prober.answered_since(time.monotonic_ns())
        return Took(at, since, prober.pause(since)), seen()
