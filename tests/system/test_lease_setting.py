# SPDX-License-Identifier: Apache-2.0
"""The length of the lease is set to another value machine by machine, as a playbook does it, under load."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.loopback import Machines, Twin, Upstream, until
from tests.system.test_faults import PRODUCT, SEATS, Client, Seats
from tests.system.told import told
from tmr.quorum.lease import Timing

LONG, SHORT = 5.0, 1.5
"""Seconds."""


@pytest.fixture
def long_lease(request: pytest.FixtureRequest) -> Iterator[Machines]:
    directory = Path(tempfile.mkdtemp(prefix="tmr-"))
    machines = Machines(directory, ttl=LONG)
    try:
        machines.start()
        with told(machines, request.session):
            yield machines
    finally:
        machines.stop()
        shutil.rmtree(directory)


def set_lease(daemon: Upstream | Twin, seconds: float) -> None:
    """The role's template and handler."""
    lines = daemon.config.read_text().splitlines()
    changed = [f"lease_ttl = {seconds}" if line.startswith("lease_ttl") else line for line in lines]
    assert changed != lines
    daemon.config.write_text("\n".join(changed) + "\n")
    assert daemon.terminate() == 0
    daemon.start()


def lease(machines: Machines) -> float:
    """Seconds that the active twin believes that it may act for; 0: none serves."""
    twin = machines.active_now()
    status = None if twin is None else machines.status(twin)
    return 0.0 if status is None else (status["lease_remaining_ms"] or 0) / 1000


def roll(machines: Machines, seconds: float) -> None:
    """Upstreams first, one after the other, then the passive twin, then the active one."""
    for upstream in machines.upstreams:
        set_lease(upstream, seconds)
        machines.whole()
    if seconds < LONG:
        most = Timing(seconds).usable
        until(lambda: 0 < lease(machines) <= most, "the twin counts with what it was granted")
        alarms = machines.status_of(machines.active())["alarms"]
        assert any("tmr_lease_ttl" in alarm for alarm in alarms), alarms
    active = machines.active()
    for twin in (machines.other(active), active):
        set_lease(twin, seconds)
        machines.whole()


@pytest.mark.timeout(600)
def test_the_lease_is_set_shorter_and_longer_under_load(long_lease: Machines) -> None:
    machines = long_lease
    machines.serve(product=PRODUCT, quantity=SEATS)
    until(lambda: lease(machines) > Timing(SHORT).usable, "the long lease is in force")
    seats, stop = Seats(), threading.Event()
    clients = [Client(number, machines, seats, stop) for number in range(3)]
    for client in clients:
        client.start()
    try:
        for seconds in (SHORT, LONG):
            before = seats.granted
            roll(machines, seconds)
            until(lambda before=before: seats.granted > before, "seats are granted")  # type: ignore[misc]
            alarms = machines.status_of(machines.active())["alarms"]
            assert not any("tmr_lease_ttl" in alarm for alarm in alarms), alarms
        until(lambda: lease(machines) > Timing(SHORT).usable, "the new length is in force")
    finally:
        stop.set()
        for client in clients:
            client.join(60)
    assert [client.error for client in clients if client.error] == []
    assert 0 < seats.most <= SEATS
