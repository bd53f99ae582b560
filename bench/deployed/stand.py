# SPDX-License-Identifier: Apache-2.0
"""The lab of the bench, the TMR system on it, and who looks at both."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from functools import cached_property
from typing import Any

from bench.deployed.figures import Boot, Playbook
from lab import lifecycle
from lab.errors import LabError
from lab.names import LabNames
from testbed import deployment
from testbed.addresses import TWINS
from testbed.deployment import Say
from testbed.fault_injector import FaultInjector
from testbed.health import Health
from testbed.operator import Operator
from testbed.site import Site
from testbed.steps import wait_for
from testbed.vendor import Vendor

SETTLE_S = 60.0
_UNITS = "-u tmr-server -u tmr-vip"


class Stand:
    """One lab, which is made by `boot` and goes with `close`."""

    def __init__(self, names: LabNames, say: Say) -> None:
        self.names, self.say = names, say
        self.site, self.faults = Site(names), FaultInjector(names)

    # -- made, deployed, removed -----------------------------------------------------------------------------

    def boot(self) -> Boot:
        """A fresh lab, in place of one that is there."""
        lifecycle.down(self.names)
        started = time.monotonic()
        machines = deployment.boot(self.site, "ram", self.say)
        return Boot(machines, time.monotonic() - started)

    def deploy(self, *extra: str) -> Playbook:
        """Run site.yml, and have every machine keep what it was given."""
        done = deployment.play(self.site, *extra)
        return Playbook(done.seconds, deployment.changes(done))

    def close(self) -> None:
        """End what looks, and remove the lab."""
        if "health" in self.__dict__:
            self.health.operator.close()
        lifecycle.down(self.names)

    # -- how it is -------------------------------------------------------------------------------------------

    @cached_property
    def health(self) -> Health:
        """Looks as an operator. Only once the system is deployed."""
        return Health(self.site, Operator(self.names.fabric, self.names.directory / "pki" / "operator.toml"))

    def settle(self) -> None:
        """Wait until both twins are up, one of them active, with three upstreams each."""
        wait_for(self.health.unsettled, SETTLE_S, "both twins and three upstreams ready")

    def issue(self) -> int:
        """Licences of the bench, served: the Product Code of one with some seats."""
        vendor = Vendor(self.site, self.faults, _items)
        product = vendor.issue()
        wait_for(lambda: vendor.unserved(self.health.operator, product), SETTLE_S, "the licences are served")
        return product

    # -- what is done to it ----------------------------------------------------------------------------------

    def kill(self, twin: str, unit: str) -> None:
        """SIGKILL to all processes of a service, at once and without a look at what becomes of it."""
        victims = self.faults.processes(twin, unit)
        if not victims:
            raise LabError(f"{unit} does not run on {twin}")
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # -- what they say ---------------------------------------------------------------------------------------

    def journal(self, since: float) -> list[str]:
        """Log of the twins' daemons since then (Unix time); each line with milliseconds from it.

        A twin whose power was cut has forgotten it.
        """
        found: list[tuple[float, str]] = []
        for twin in TWINS:
            done = self.site.inside(
                twin, f"journalctl {_UNITS} --no-pager -o short-unix --since @{int(since) - 1}"
            )
            for line in done.out.splitlines():
                stamp, _, text = line.partition(" ")
                with suppress(ValueError):
                    found.append((float(stamp) - since, text.replace("\t", " ")))
        return [f"{1e3 * at:+9.1f} ms  {text}" for at, text in sorted(found) if at > -0.5]


def _items(first: int) -> list[dict[str, Any]]:
    return [{"product": first, "name": "Seats", "quantity": 4}]
