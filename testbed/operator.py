# SPDX-License-Identifier: Apache-2.0
"""Looks at the system as its operator does, from the controller: a host in the front network."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from lab.errors import LabError
from testbed.addresses import TWINS, VIP
from tmr.api.borrowing import Borrowing
from tmr.api.licences import Item
from tmr.api.sessions import SessionList
from tmr.api.status import Role, Status, UpstreamStatus
from tmr.client import Client, Policy, TmrError, TwinNotReady, load

_CLONE_NEWNET: Final = 0x40000000
_POLICY: Final = Policy(patience=5.0, refusal_patience=1.0, connect=0.3, longest_connect=1.0)

_READY_S: Final = 20.0
"""Seconds that a twin may take until it could take over."""

T = TypeVar("T")


def enter(namespace: str) -> None:
    """Move this thread, and only it, into the network namespace."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            raise LabError(f"network namespace {namespace}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(descriptor)


class Operator:
    """All connections are made by one thread that lives in the lab's fabric."""

    def __init__(self, namespace: str, config: Path) -> None:
        self._thread = ThreadPoolExecutor(1, initializer=enter, initargs=(namespace,))
        self._client = Client(load(config), policy=_POLICY)

    def close(self) -> None:
        self._thread.submit(self._client.close).result()
        self._thread.shutdown()

    def _do(self, ask: Callable[[], T]) -> T:
        return self._thread.submit(ask).result()

    def status(self, twin: str) -> Status | None:
        """Of one twin, at its own address; None if it does not answer."""
        return self._at(TWINS[twin])

    def active(self) -> Status | None:
        """Of who answers at the virtual address and is active."""
        status = self._at(VIP)
        return status if status and status.role is Role.ACTIVE else None

    def _at(self, address: str) -> Status | None:
        try:
            return self._do(lambda: self._client.status(address))
        except TmrError:
            return None

    def items(self) -> tuple[Item, ...]:
        """The licences that can be used."""
        return self._do(self._client.items).items

    def sessions(self) -> SessionList:
        """Everybody's, and who waits."""
        return self._do(self._client.session_list)

    def borrowings(self) -> tuple[Borrowing, ...]:
        """Everybody's."""
        return self._do(self._client.borrowings)

    def give_back(self, borrowing: str) -> None:
        """End somebody's borrowing."""
        self._do(lambda: self._client.give_back(borrowing))

    def certified_time(self) -> datetime:
        """The system's own time."""
        return self._do(self._client.containers)[0].certified_time

    def trust(self, upstream: str, fingerprint: str) -> None:
        """Believe the container of this fingerprint from now on."""
        self._do(lambda: self._client.trust(upstream, fingerprint))

    def switchover(self) -> str:
        """The twin that steps down, once the other one could take over: it may have started just now."""
        latest = time.monotonic() + _READY_S
        while True:
            try:
                return self._do(self._client.switchover).from_
            except TwinNotReady:
                if time.monotonic() > latest:
                    raise


def upstream_of(status: Status, name: str) -> UpstreamStatus:
    """One upstream, as the twin sees it."""
    return next(upstream for upstream in status.upstreams if upstream.name == name)
