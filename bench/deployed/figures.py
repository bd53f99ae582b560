# SPDX-License-Identifier: Apache-2.0
"""Figures of one run."""

from __future__ import annotations

import msgspec

from testbed.vip_watcher import Seen

POWER = "power cut"
CABLE = "front cable pulled"
PLANNED = "handed over in good order"
AT_WORK = "the same while an application works"
SERVER = "kill -9 of the server"
HOLDER = "kill -9 of what holds the address"
EVENTS = (POWER, CABLE, PLANNED, AT_WORK, SERVER)
"""Events of the active twin, in the order of the report."""

TMR = "TMR"
KEEPALIVED = "keepalived"


GOALS = {"boot": 8.0, "first": 90.0, "unchanged": 40.0}
"""Seconds for a lab that is up, for site.yml on bare machines, and with nothing to do."""


class Requests(msgspec.Struct, frozen=True):
    """Requests of an application during an event, and their outcome."""

    asked: int
    failed: int
    longest_ms: float
    longest_from_ms: float
    """Time at which that request was sent, counted from the event's beginning."""
    errors: tuple[str, ...]
    """The first few."""


class Gap(msgspec.Struct, frozen=True):
    """One event."""

    event: str
    system: str
    setting: str
    round: int
    victim: str
    at: float
    """Unix time at which it began."""
    gap_ms: float
    from_ms: float
    """The last success before the pause, counted from the event's beginning."""
    held_up_ms: float
    """Longest time within the pause in which the prober began no attempt."""
    outcomes: dict[str, int]
    requests: Requests | None = None


class Holding(msgspec.Struct, frozen=True):
    """One kill -9 of what holds the address, and who had it then."""

    system: str
    setting: str
    round: int
    victim: str
    seen: Seen
    gap_ms: float


class Playbook(msgspec.Struct, frozen=True):
    """One run of site.yml."""

    seconds: float
    changes: int


class Boot(msgspec.Struct, frozen=True):
    """One boot of the lab: seconds of each machine, and of all, with their networks and disks."""

    machines: dict[str, float]
    all: float


class Missing(msgspec.Struct, frozen=True):
    """A measurement that failed, and the reason."""

    what: str
    why: str


class Figures(msgspec.Struct):
    """All of one run."""

    machine: str
    rounds: int
    boots: list[Boot] = []
    first: list[Playbook] = []
    unchanged: list[Playbook] = []
    gaps: list[Gap] = []
    holdings: list[Holding] = []
    missing: list[Missing] = []
    goals: dict[str, float] = msgspec.field(default_factory=lambda: dict(GOALS))
