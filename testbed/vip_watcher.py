"""Holders of an address among the twins, looked up from outside; no program is started for it."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import msgspec

from lab.errors import LabError
from lab.names import LabNames
from lab.topology import machine_named
from testbed.addresses import TWINS
from testbed.operator import enter

_EVERY_S = 0.002


class Change(msgspec.Struct, frozen=True):
    """From `at_ns` (CLOCK_MONOTONIC) on, these twins had the address."""

    at_ns: int
    twins: tuple[str, ...]


class Seen(msgspec.Struct, frozen=True):
    """Who had an address while it was watched."""

    looks: int
    seconds: float
    most: int
    """Twins that had it at one time."""
    both_s: float
    """Seconds in which more than one had it."""
    last: tuple[str, ...]
    """Who had it at the end."""
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


class VipWatcher:
    """Looks by one thread of its own, which goes from network namespace to network namespace.

    The kernel lets a socket be bound to the addresses of its own namespace alone: what `ip address` would
    show, in some microseconds.
    """

    def __init__(self, names: LabNames) -> None:
        self._names = names
        self._thread = ThreadPoolExecutor(1)

    def close(self) -> None:
        self._thread.shutdown()

    def holders(self, address: str) -> tuple[str, ...]:
        """The twins that have the address now."""
        return self._thread.submit(self._look, address).result()

    @contextmanager
    def watching(self, address: str) -> Iterator[Callable[[], Seen]]:
        """Looks every 2 ms while the block runs, by one more thread; gives what was seen so far."""
        changes: list[Change] = []
        looks: list[int] = []
        over, first = threading.Event(), threading.Event()

        def watch() -> None:
            while not over.wait(_EVERY_S):
                twins = self._look(address)
                now = time.monotonic_ns()
                if not changes or changes[-1].twins != twins:
                    changes.append(Change(now, twins))
                looks.append(now)
                first.set()

        with ThreadPoolExecutor(1) as pool:
            watched = pool.submit(watch)
            watched.add_done_callback(lambda _: first.set())
            first.wait()
            try:
                yield lambda: summary(list(changes), list(looks))
            finally:
                over.set()
            watched.result()

    def _look(self, address: str) -> tuple[str, ...]:
        try:
            return tuple(self._having(address))
        finally:
            enter(self._names.fabric)  # a thread in it would keep the namespace of a machine that is off

    def _having(self, address: str) -> Iterable[str]:
        for twin in TWINS:
            try:
                enter(self._names.namespace(machine_named(twin)))
            except (FileNotFoundError, LabError):
                continue  # it is off, or just going off
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                try:
                    sock.bind((address, 0))
                except OSError as error:
                    if error.errno != errno.EADDRNOTAVAIL:
                        raise
                else:
                    yield twin
