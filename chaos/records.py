# SPDX-License-Identifier: Apache-2.0
"""The files of a campaign: one directory, one JSON document `campaign.json` and files of JSON Lines.

All times are seconds since the campaign began, on the host's CLOCK_BOOTTIME, which every machine of the lab
shares.

| file | one line for each |
|---|---|
| `operations.jsonl` | request of a client (`Operation`) |
| `faults.jsonl` | fault of the nemesis (`Fault`) |
| `samples.jsonl` | look at a machine from outside (`Sample`) |
| `holders.jsonl` | change of the machines that have the virtual address (`Holders`) |
| `tracking.jsonl` | line of the merged licence tracking record, as `/v1/tracking` exports it |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

OPERATIONS, FAULTS, SAMPLES, HOLDERS, TRACKING = (
    "operations.jsonl",
    "faults.jsonl",
    "samples.jsonl",
    "holders.jsonl",
    "tracking.jsonl",
)
CAMPAIGN = "campaign.json"


class Licence(msgspec.Struct, frozen=True):
    """A licence of the campaign. `units_before`, `units_after`: its Unit Counter around it."""

    firm_code: int
    product_code: int
    tmr_id: int
    quantity: int
    units_before: int | None = None
    units_after: int | None = None


class Campaign(msgspec.Struct):
    """The campaign as a whole. `finished`: seconds after which faults were mended and clients had stopped."""

    seed: int
    seconds: float
    ttl: float
    """Lease of the twins, seconds."""
    session_ttl: float
    clients: int
    licences: list[Licence]
    finished: float = 0.0
    certified_before: str = ""
    """Certified time when it began, RFC 3339: lines of the record before it are of somebody else."""
    sessions_after: int = 0
    """Sessions, borrowings and places in a queue that the system shows when all clients have given back."""
    records_agree: bool = True
    """The three upstreams' copies of the record verified, each one's chain unbroken, and are the same."""
    journal: dict[str, int] = {}
    """Last committed index of each upstream when all had caught up."""


class Fault(msgspec.Struct):
    """One fault, from the moment it began to strike until its cause was taken away."""

    kind: str
    machines: list[str]
    began: float
    ended: float | None = None
    detail: str = ""
    told: list[str] = []
    """Alarms of it that were waited for, one of each machine that is to raise it."""


class Sample(msgspec.Struct):
    """One machine as seen from outside; `state` is the lab's word: on, off, frozen, booting, stopping."""

    at: float
    machine: str
    state: str
    vip: bool = False
    """The virtual address is on its interface."""
    role: str = ""
    """Of a twin, as it says: active, passive, …"""
    epoch: int = 0
    serving: bool = False
    commit: int | None = None
    """Of an upstream: its commit index."""
    voting: bool | None = None
    seats: int | None = None
    """Of the active twin: seats in use of all licences of the campaign."""


class Holders(msgspec.Struct, frozen=True):
    """The twins on whose interfaces the virtual address was found together, from `at` on.

    `looks`: how often just these were found, every 20 ms or so, until it changed or a second was over.
    """

    at: float
    machines: tuple[str, ...]
    looks: int


def append(path: Path, lines: Iterable[msgspec.Struct]) -> None:
    """Write `lines` to the end of the file."""
    with path.open("ab") as file:
        for line in lines:
            file.write(msgspec.json.encode(line) + b"\n")


def read(path: Path, kind: type[T]) -> Iterator[T]:
    """The lines of a file. Raises msgspec.MsgspecError for a line of another shape."""
    decoder = msgspec.json.Decoder(kind)
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)
