# SPDX-License-Identifier: Apache-2.0
"""A campaign from its beginning to the written records: clients at work, faults, what is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.address_watch import EVERY_S, AddressLog
from chaos.aftermath import Aftermath, licences
from chaos.nemesis import Nemesis
from chaos.plan import plan as plan_faults
from chaos.records import CAMPAIGN, FAULTS, HOLDERS, OPERATIONS, SAMPLES, TRACKING, Campaign, append
from chaos.watcher import Watcher
from chaos.workload import TTL_S, clients, items
from lab.errors import LabError
from lab.names import LabNames
from testbed.addresses import LEASE_S, VIP
from testbed.client_program import ClientProgram
from testbed.deployment import Say
from testbed.fault_injector import FaultInjector, boottime
from testbed.operator import Operator
from testbed.site import Site
from testbed.steps import StepFailed, wait_for
from testbed.vendor import FIRM, Vendor, trust_all
from testbed.vip_watcher import VipWatcher
from testbed.workload.plan import Plan
from tmr.client import TmrError

_WHOLE_S = 60.0
_END_S = 90


def run(names: LabNames, seed: int, seconds: float, directory: Path, say: Say) -> Campaign:
    """Play a campaign on a lab that is deployed, and write its records into `directory`.

    Raises LabError or StepFailed where it cannot be played; all faults are mended then, too.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in (OPERATIONS, FAULTS, SAMPLES, HOLDERS, TRACKING, CAMPAIGN):
        (directory / name).unlink(missing_ok=True)
    for name in (OPERATIONS, FAULTS, SAMPLES, HOLDERS):
        (directory / name).touch()
    site, faults = Site(names), FaultInjector(names)
    faults.mend()
    operator = Operator(names.fabric, names.directory / "pki" / "operator.toml")
    try:
        return _Play(site, faults, operator, directory, say).play(seed, seconds)
    finally:
        operator.close()
        faults.mend()
        faults.remove_clocks()


class _Play:
    def __init__(
        self, site: Site, faults: FaultInjector, operator: Operator, directory: Path, say: Say
    ) -> None:
        self._site, self._faults, self._operator = site, faults, operator
        self._directory, self._say = directory, say
        self._vendor = Vendor(site, faults, items)

    def play(self, seed: int, seconds: float) -> Campaign:
        self._faults.install_clocks()
        wait_for(self._untrusted, _WHOLE_S, "the twins believe the three containers")
        first = self._vendor.issue()
        wait_for(
            lambda: self._vendor.unserved(self._operator, first),
            _WHOLE_S,
            "the campaign's licences are served",
        )
        given = licences(self._operator.items(), first)
        certified = self._operator.certified_time().isoformat()
        began = boottime()
        work = Plan(FIRM, clients(first), TTL_S, seed, began)
        campaign = Campaign(
            seed, seconds, LEASE_S, TTL_S, len(work.clients), given, certified_before=certified
        )
        say = _timed(self._say, began)
        say(f"{campaign.clients} clients, {len(given)} licences, seed {seed}, {seconds:.0f} s")
        watcher = Watcher(self._site.names, self._directory, began, given)
        addresses = AddressLog(self._directory, lambda: round(boottime() - began, 3))
        with watcher, VipWatcher(self._site.names, VIP, EVERY_S, addresses.saw):
            self._whole(watcher, "before the first fault")
            nemesis = Nemesis(
                self._faults, watcher, self._operator, self._vendor, self._directory, began, say
            )
            with self._clients(work):
                nemesis.play(plan_faults(seed, seconds), seconds)
                time.sleep(max(0.0, began + seconds - boottime()))
                self._faults.mend()
                say("all faults are mended")
                self._whole(watcher, "after the last fault")
            say("the clients have given back what they had")
            campaign.finished = round(boottime() - began, 3)
            after = Aftermath(self._site, self._operator, self._vendor, watcher, self._directory, began, say)
            after.write(campaign, first)
        addresses.write()
        return campaign

    def _untrusted(self) -> str:
        try:
            trust_all(self._operator, self._faults)
        except TmrError as error:
            return error.message
        return ""

    def _whole(self, watcher: Watcher, when: str) -> None:
        if lacks := watcher.wait(lambda look: look.unwhole(), _WHOLE_S):
            raise StepFailed(f"{when} the system is not whole within {_WHOLE_S:.0f} s: {lacks}")

    @contextmanager
    def _clients(self, plan: Plan) -> Iterator[None]:
        """The clients work on the client machine meanwhile; what they wrote is fetched in any case."""
        program = ClientProgram(self._site, "chaos")
        program.start(plan, _END_S)
        try:
            yield
            if not program.alive():
                raise LabError(f"the clients ended by themselves: {program.said()}")
        finally:
            program.stop(_END_S)
            append(self._directory / OPERATIONS, program.operations())
        if program.failed():
            raise LabError(f"the clients failed at their end: {program.said()}")


def _timed(say: Say, began: float) -> Say:
    return lambda text: say(f"{boottime() - began:6.1f} s  {text}")
