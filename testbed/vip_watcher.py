# SPDX-License-Identifier: Apache-2.0
"""Holders of an address among the twins, looked up from outside; no program is started for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path

import msgspec

from lab.keeper import BootRecord
from lab.names import LabNames
from lab.topology import machine_named
from testbed.addresses import TWINS
from testbed.observer import Observer

_OFTEN_S = 0.002


def has_address(names: LabNames, address: str, machine: str) -> bool:
    """Asked of the kernel, which knows the addresses of a frozen machine, too."""
    record = BootRecord.read(names.boot_record(machine_named(machine)))
    with suppress(OSError):
        return (
            record is not None
            and record.leader is not None
            and f" {address}\n" in Path(f"/proc/{record.leader}/net/fib_trie").read_text()
        )
    return False


def together(has: Callable[[str], bool]) -> tuple[str, ...]:
    """Twins that have the address at one moment.

    They are read one after the other: of two that were found, the first is read again. If it still has the
    address, it had it also when the second was read; if not, the address has moved in between.
    """
    found = tuple(name for name in TWINS if has(name))
    return found if len(found) < 2 or has(found[0]) else found[1:]


def holders(names: LabNames, address: str) -> tuple[str, ...]:
    """The twins that have the address now."""
    return together(partial(has_address, names, address))


class VipWatcher(Observer):
    """Looks every `every_s`, and tells `saw` the holders."""

    def __init__(
        self, names: LabNames, address: str, every_s: float, saw: Callable[[tuple[str, ...]], None]
    ) -> None:
        super().__init__("vip watcher")
        self._look, self._every_s, self._saw = partial(holders, names, address), every_s, saw
        saw(self._look())

    def observe(self) -> None:
        while not self.over.wait(self._every_s):
            self._saw(self._look())


class Change(msgspec.Struct, frozen=True):
    """From `at_ns` (CLOCK_MONOTONIC) on, these twins had the address."""

    at_ns: int
    twins: tuple[str, ...]


class Seen(msgspec.Struct, frozen=True):
    """Holders of an address while it was watched."""

    looks: int
    seconds: float
    most: int
    """Twins that had it at one time."""
    both_s: float
    """Seconds in which more than one had it."""
    last: tuple[str, ...]
    """Its holders at the end."""
    apart_ms: float
    """Longest time between two looks."""


def summary(changes: Sequence[Change], looks_ns: Sequence[int]) -> Seen:
    """`changes` begin with the first look; `looks_ns`: when each look was, at least one."""
    start, end = looks_ns[0], looks_ns[-1]
    until = [change.at_ns for change in changes[1:]] + [end]
    spans = [(change.twins, over - change.at_ns) for change, over in zip(changes, until, strict=True)]
    return Seen(
        looks=len(looks_ns),
        seconds=(end - start) / 1e9,
        most=max(len(twins) for twins, _ in spans),
        both_s=sum(length for twins, length in spans if len(twins) > 1) / 1e9,
        last=changes[-1].twins,
        apart_ms=max((b - a for a, b in pairwise(looks_ns)), default=0) / 1e6,
    )


@contextmanager
def watching(names: LabNames, address: str) -> Iterator[Callable[[], Seen]]:
    """Looks every 2 ms while the block runs; gives what was seen so far."""
    changes: list[Change] = []
    looks: list[int] = []

    def saw(twins: tuple[str, ...]) -> None:
        now = time.monotonic_ns()
        if not changes or changes[-1].twins != twins:
            changes.append(Change(now, twins))
        looks.append(now)

    with VipWatcher(names, address, _OFTEN_S, saw):
        yield lambda: summary(list(changes), list(looks))
